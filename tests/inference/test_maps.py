from tcam_cache.inference.maps import annotated_frames
from tcam_cache.records import Box, Shot

BOX = Box(1, 2, 3, 4)


def test_annotated_frames_come_in_the_order_of_their_shots_and_in_time_order_within_one():
    files = ("1.jpg", "2.jpg", "3.jpg", "4.jpg")
    late_first = Shot("b", "bird", "b", "val", "b", files, {3: (BOX,), 1: (BOX, BOX)})
    bare = Shot("c", "bird", "c", "val", "c", files)
    first = Shot("a", "bird", "a", "val", "a", files, {0: (BOX,)})
    frames = annotated_frames([late_first, bare, first])
    assert [(shot.id, t) for shot, t in frames] == [("b", 1), ("b", 3), ("a", 0)]
