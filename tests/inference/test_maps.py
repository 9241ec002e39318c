import pytest
import torch

from tcam_cache.inference.maps import annotated_frames, mixed_maps
from tcam_cache.records import Box, Shot

BOX = Box(1, 2, 3, 4)


def test_annotated_frames_come_in_the_order_of_their_shots_and_in_time_order_within_one():
    files = ("1.jpg", "2.jpg", "3.jpg", "4.jpg")
    late_first = Shot("b", "bird", "b", "val", "b", files, {3: (BOX,), 1: (BOX, BOX)})
    bare = Shot("c", "bird", "c", "val", "c", files)
    first = Shot("a", "bird", "a", "val", "a", files, {0: (BOX,)})
    frames = annotated_frames([late_first, bare, first])
    assert [(shot.id, t) for shot, t in frames] == [("b", 1), ("b", 3), ("a", 0)]


@pytest.mark.parametrize("mix", ["mean", "geometric"])
def test_a_frame_whose_decoder_looks_elsewhere_than_its_cam_has_the_cam_alone(mix):
    # Cosines of 0, 0.6 and 1; of the last, maps differ by a factor alone.
    decoded = torch.tensor([[[0.5, 0.0]], [[0.5, 0.0]], [[0.2, 0.1]]])
    cam = torch.tensor([[[0.0, 1.0]], [[0.6, 0.8]], [[1.0, 0.5]]])
    everywhere = mixed_maps(decoded, cam, mix, 0.5)
    for agreement, alone in ((0.0, []), (0.55, [0]), (0.65, [0, 1])):
        found = mixed_maps(decoded, cam, mix, 0.5, agreement)
        for frame in range(3):
            torch.testing.assert_close(found[frame], (cam if frame in alone else everywhere)[frame])
    assert not torch.equal(everywhere[:2], cam[:2])
