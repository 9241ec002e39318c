import dataclasses
import pickle

import pytest

from tcam_cache.records import Box, Shot, shots_of_split


def shot(number, split):
    return Shot(
        f"bird/{number}/001", "bird", f"bird/{number}", split, f"bird/{number}/001", ("a.jpg", "b.jpg")
    )


def test_a_shot_is_as_long_as_its_list_of_frames():
    assert len(shot(1, "train")) == 2


def test_the_path_of_a_frame_joins_folder_and_name_with_slashes():
    assert shot(1, "train").path(1) == "bird/1/001/b.jpg"


def test_a_shot_cannot_be_changed_and_travels_between_processes():
    one = dataclasses.replace(shot(1, "val"), boxes={0: (Box(1, 2, 3, 4),)})
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.tag = "cat"
    assert pickle.loads(pickle.dumps(one)) == one


def test_the_shots_of_a_split_keep_their_order_and_all_means_all():
    shots = [shot(1, "val"), shot(2, "train"), shot(3, "val"), shot(4, "test")]
    assert shots_of_split(shots, "val") == (shots[0], shots[2])
    assert shots_of_split(shots, "all") == tuple(shots)
    assert shots_of_split(shots[:1], "test") == ()
