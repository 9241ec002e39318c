import json

import pytest

from tcam_cache.models.preprocessing import IMAGENET, Preprocessing


def test_the_ways_of_imagenet_are_not_written_down():
    assert IMAGENET.to_json() == {}
    assert Preprocessing.from_json({}) == IMAGENET


@pytest.mark.parametrize(
    "given",
    [
        {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"},
        {"size": 288},
        {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "interpolation": "nearest", "size": 64},
    ],
)
def test_what_differs_is_written_as_json_and_read_back(given):
    ours = Preprocessing(**given)
    assert set(ours.to_json()) == set(given)
    assert Preprocessing.from_json(json.loads(json.dumps(ours.to_json()))) == ours
