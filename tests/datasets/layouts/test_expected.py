import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from tcam_cache.datasets import Manifest, deviations, expected_data, read_video_splits, scan_ytov1
from tcam_cache.datasets.layouts.ytov1 import published_validation
from tcam_cache.datasets.layouts.ytov2_2 import VALIDATION_VIDEOS
from tcam_cache.records import Shot

REAL = Path(__file__).parents[2] / "../shared/data"
FOLDS = {"ytov1": "YouTube-Objects-v1.0", "ytov2.2": "YouTube-Objects-v2.2"}
beside = pytest.mark.skipif(not REAL.is_dir(), reason="the real data are not beside the checkout")


@pytest.mark.parametrize(
    ("layout", "videos", "counts"),
    [("ytov1", (78, 50, 27), (155, 571_089, 396)), ("ytov2.2", (76, 30, 49), (155, 722_040, 2667))],
)
def test_what_ships_adds_up(layout, videos, counts):
    known = expected_data(layout)
    found = [list(known.splits.values()).count(split) for split in ("train", "val", "test")]
    assert tuple(found) == videos and sum(found) == known.counts["videos"]
    assert (known.counts["videos"], known.counts["frames"], known.counts["splits"]["test"]["boxes"]) == counts
    assert known.classes == tuple(sorted({video.partition("/")[0] for video in known.splits}))
    for split, number in zip(("train", "val", "test"), videos, strict=True):
        assert known.counts["splits"][split]["videos"] == number


def test_other_layouts_have_nothing_to_deviate_from(small_manifest):
    from tcam_cache.datasets import read_manifest

    assert expected_data("folders") is None
    assert deviations(read_manifest(small_manifest)) == ()


def test_every_deviation_is_named(ytov1):
    manifest = scan_ytov1(ytov1).manifest()
    found = deviations(manifest)
    assert found[:3] == (
        "videos: got 80, expected 155",
        "shots: got 83, expected 5,507",
        "frames: got 165, expected 571,089",
    )
    assert "test boxes: got 20, expected 396" in found
    assert "video cow/data/0008: in test, published in train" in found
    assert "video train/data/0029 is missing" in found
    assert "video train/data/0001 is not among the published ones" in found
    assert [line for line in deviations(manifest, splits_too=False) if "video " in line] == []


def test_empty_shots_may_be_counted_or_not():
    known = expected_data("ytov1")
    shots = tuple(
        Shot(f"bird/{n}", "bird", "bird/v", "train", "f", ("1.jpg",)) for n in range(known.counts["shots"])
    )
    whole = Manifest(Path("/"), "ytov1", ("bird",), shots)
    less = replace(whole, shots=shots[:-17], facts={"empty_shots": 17})
    more = replace(whole, shots=shots[:-17], facts={"empty_shots": 16})
    said = [
        any(line.startswith("shots") for line in deviations(m, splits_too=False)) for m in (whole, less, more)
    ]
    assert said == [False, False, True]


@pytest.mark.realdata
@beside
@pytest.mark.parametrize("layout", list(FOLDS))
def test_what_ships_agrees_with_the_published_split_files_video_by_video(layout):
    known = expected_data(layout)
    assert read_video_splits(REAL / "yto_folds" / FOLDS[layout]) == dict(known.splits)


@pytest.mark.realdata
@beside
@pytest.mark.parametrize("layout", list(FOLDS))
def test_counts_that_ship_agree_with_the_published_split_files(layout):
    folder = REAL / "yto_folds" / FOLDS[layout]
    for split, counts in expected_data(layout).counts["splits"].items():
        lines = {
            name: (folder / split / f"{name}.txt").read_text().split()
            for name in ("image_ids", "localization")
        }
        if split == "train":
            assert len(lines["image_ids"]) == counts["shots"]
        else:
            assert len(lines["image_ids"]) == counts["annotated_frames"]
            assert len(lines["localization"]) == counts["boxes"]


def test_the_rule_of_v1_gives_the_published_val_videos():
    # Which five training videos have no box is not published. All of a class's are candidates in eight
    # classes; three of class dog and two of class motorbike can be told to be without from the lists.
    splits = expected_data("ytov1").splits
    for number, tag in enumerate(expected_data("ytov1").classes):
        of = {
            split: [v for v, s in splits.items() if s == split and v.startswith(f"{tag}/")]
            for split in ("train", "val")
        }
        bare = {"dog": 3, "motorbike": 2}.get(tag, 0)
        agreeing = [
            left_out
            for left_out in itertools.combinations(of["train"], bare)
            if set(published_validation({*of["train"], *of["val"]} - {*left_out}, number)) == set(of["val"])
        ]
        assert agreeing, tag


def test_the_rule_of_v2_2_gives_the_published_val_videos():
    splits = expected_data("ytov2.2").splits
    for tag in expected_data("ytov2.2").classes:
        training = sorted(v for v, s in splits.items() if s != "test" and v.startswith(f"{tag}/"))
        assert [v for v in training if splits[v] == "val"] == training[:VALIDATION_VIDEOS]
