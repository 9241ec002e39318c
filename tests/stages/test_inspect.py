"""Tests of inspecting a cache: its summary, one shot, the picture, and that torch is never loaded."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tcam_cache.config import InspectConfig
from tcam_cache.errors import CacheError, ConfigError, FrameError
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.inspect import inspect_cache


def test_a_summary_says_what_is_in_the_cache(small_cache):
    report = inspect_cache(InspectConfig(cache=small_cache))
    values = json.loads(json.dumps(report.to_json()))
    assert values["complete"] and values["total"] == {"shots": 11, "committed": 11, "frames": 35, "flat": 0}
    assert values["map_size"] == [7, 7] and values["settings"]["method"] == "layercam"
    assert values["fingerprint"] in report.to_text() and values["bytes"] > 0
    assert "bird/0001/001" in report.to_text()


def test_a_summary_of_an_incomplete_cache_says_what_is_missing(build_config):
    build_cache(build_config(shard="0/2"))
    report = inspect_cache(InspectConfig(cache=build_config().out))
    assert not report.to_json()["complete"] and "5 missing" in report.to_text()
    assert report.to_text().count("not finished") == 5
    with pytest.raises(CacheError, match="'dog/0001' is not finished"):
        inspect_cache(InspectConfig(cache=build_config().out, shot="dog/0001"))


def test_one_shot_is_described(small_cache):
    report = inspect_cache(InspectConfig(cache=small_cache, shot="bird/0001/001"))
    values = json.loads(json.dumps(report.to_json()))
    assert (values["tag"], values["frames"], values["maps"], values["flat"]) == ("bird", 6, "7 x 7", 0)
    assert 0 <= values["raw_min"] < values["raw_max"] and 0 < values["mean_activation"] < 1
    assert sum(values["predicted"].values()) == 6
    assert "bird/0001/001" in report.to_text()


def test_the_picture_shows_every_frame_of_the_shot(small_cache, tmp_path):
    report = inspect_cache(InspectConfig(cache=small_cache, shot="bird/0001/001", png=tmp_path / "shot.png"))
    with Image.open(tmp_path / "shot.png") as image:
        assert image.format == "PNG"
        width, height = image.size
        pixels = np.asarray(image.convert("RGB")).astype(float)
    # Six tiles of 240 x 180 in one row.
    assert 6 * 240 <= width <= 6 * 270 and 180 <= height <= 230
    assert pixels.std() > 20
    assert str(tmp_path / "shot.png") in report.to_text()


def test_a_shot_that_is_not_there_is_named_with_those_alike(small_cache):
    with pytest.raises(CacheError, match="bird/0001/003") as caught:
        inspect_cache(InspectConfig(cache=small_cache, shot="bird/0001/003"))
    assert "bird/0001/00" in str(caught.value).replace("bird/0001/003", "")


def test_a_summary_says_what_the_cams_look_like_and_what_was_read(small_cache):
    report = inspect_cache(InspectConfig(cache=small_cache, seed=3))
    cams = json.loads(json.dumps(report.to_json()))["cams"]
    assert (cams["maps_read"], cams["seed"]) == (35, 3)
    assert cams["per_class"]["bird"]["frames"] == 14
    assert 0 < cams["per_class"]["bird"]["mean"] < 1 and 0 <= cams["per_class"]["bird"]["agreement"] <= 1
    assert "of all 35 frames; mean and area > 0.5 of all" in report.to_text()


def test_of_many_maps_the_summary_says_how_many_were_read(small_cache, monkeypatch):
    monkeypatch.setattr("tcam_cache.cache.summary.SAMPLE_BYTES", 1)
    report = inspect_cache(InspectConfig(cache=small_cache))
    read = report.to_json()["cams"]["maps_read"]
    assert read < 20 and f"of {read} maps of shots drawn with seed 0" in report.to_text()


def test_a_picture_without_a_shot_shows_every_class(small_cache, tmp_path):
    report = inspect_cache(InspectConfig(cache=small_cache, png=tmp_path / "classes.png"))
    with Image.open(tmp_path / "classes.png") as image:
        width, height = image.size
    assert width == 6 * 246 - 6 and 3 * 210 < height < 3 * 270
    assert str(tmp_path / "classes.png") in report.to_text()


def test_a_shot_moves(small_cache, tmp_path):
    av = pytest.importorskip("av")
    places = {"gif": tmp_path / "a.gif", "mp4": tmp_path / "a.mp4"}
    report = inspect_cache(InspectConfig(cache=small_cache, shot="bird/0001/001", fps=5, **places))
    with Image.open(places["gif"]) as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (6, (732, 202), 200)
    with av.open(places["mp4"]) as container:
        assert container.streams.video[0].average_rate == 5
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)]
    assert shapes == [(202, 732, 3)] * 6
    assert all(str(path) in report.to_text() for path in places.values())


@pytest.mark.parametrize("kind", ["gif", "mp4"])
def test_what_moves_is_a_shot(small_cache, tmp_path, kind):
    with pytest.raises(ConfigError, match="Name it"):
        InspectConfig(cache=small_cache, **{kind: tmp_path / "a"})


def test_frames_that_are_gone_are_named_and_a_new_root_helps(build_config, data_copy, small_data, tmp_path):
    build_cache(build_config(root=data_copy))
    (data_copy / "dog/0002/frame0002.jpg").unlink()
    config = InspectConfig(cache=build_config().out, shot="dog/0002", png=tmp_path / "shot.png")
    with pytest.raises(FrameError, match=r"dog/0002/frame0002\.jpg: missing"):
        inspect_cache(config)
    inspect_cache(
        InspectConfig(cache=build_config().out, shot="dog/0002", png=tmp_path / "shot.png", root=small_data)
    )
    assert (tmp_path / "shot.png").is_file()


def test_a_folder_that_is_no_cache_is_named(small_data, tmp_path):
    with pytest.raises(CacheError, match="is not a CAM cache"):
        inspect_cache(InspectConfig(cache=small_data))
    with pytest.raises(CacheError, match=r"there is no folder .*nowhere"):
        inspect_cache(InspectConfig(cache=tmp_path / "nowhere"))


def test_nothing_of_it_loads_torch(small_cache, tmp_path):
    script = (
        "import sys; from tcam_cache_cli.main import main; main(sys.argv[1:], standalone_mode=False); "
        "print(sorted({'torch', 'torchvision'} & set(sys.modules)))"
    )
    arguments = ["inspect", small_cache, "bird/0001/001", "--png", tmp_path / "shot.png"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
