"""Names of data that are long, or mean something to a spreadsheet or to HTML: no result is lost."""

import json
import shutil

import pytest
from PIL import Image

from tcam_cache.evaluation import from_csv

ODD = "=1+1|<b>\"'"


def widened(name):
    """Return a name of 240 bytes that starts with another and ends as it does."""
    stem, dot, suffix = name.rpartition(".")
    head, tail = (stem, dot + suffix) if dot else (name, "")
    return head + "é" * ((240 - len((head + tail).encode())) // 2) + tail


@pytest.fixture(scope="module")
def odd_data(small_data, tmp_path_factory):
    """Return the small data set with a video and its frames under odd names, and the rows of its boxes."""
    root = shutil.copytree(small_data, tmp_path_factory.mktemp("odd") / "data")
    video = (root / "bird/0003").rename(root / "bird" / widened(ODD))
    for number, frame in enumerate(sorted(video.iterdir())):
        frame.rename(video / widened(f"{'=-+@'[number]}{frame.name}"))
    (root / "annotations.csv").unlink()
    return root


@pytest.fixture
def odd_cache(tcam, odd_data, small_classifier, tmp_path, one_scale):
    """Return the manifest and the cache of the odd data set, all frames boxed."""
    manifest, cache = tmp_path / "m.jsonl", tmp_path / "cache"
    indexed = tcam("manifest", odd_data, "--layout", "folders", "--out", manifest, "--workers", 0)
    assert indexed.exit_code == 0, indexed.output
    lines = manifest.read_text().splitlines()
    shots = [json.loads(line) for line in lines[1:]]
    for shot in shots:
        shot["boxes"] = {str(t): [[1, 1, 20, 20]] for t in range(len(shot["frames"]))}
    manifest.write_text("\n".join([lines[0], *map(json.dumps, shots)]) + "\n")
    given = ["--classifier", small_classifier, "--out", cache, "--workers", 0, "--image-size", 64, *one_scale]
    done = tcam("build", manifest, *given)
    assert done.exit_code == 0, done.output
    return manifest, cache


def test_frames_of_odd_and_long_names_are_scored_drawn_and_found_again(tcam, odd_cache, tmp_path):
    manifest, cache = odd_cache
    out = tmp_path / "report"
    given = ["--cache", cache, "--split", "all", "--threshold", "0.5", "--out", out, "--workers", "0"]
    done = tcam("evaluate", manifest, *given)
    assert done.exit_code == 0, done.output
    with (out / "frames.csv").open(newline="") as file:
        rows = from_csv(file.read())
    odd = [row for row in rows if row.video == f"bird/{widened(ODD)}"]
    assert len(rows) == 35 and len(odd) == 4
    assert [row.path.rpartition("/")[2][0] for row in odd] == sorted("=-+@")
    assert "<b>" not in (out / "table.md").read_text()


def test_a_shot_of_an_odd_and_long_name_is_drawn(tcam, odd_cache, tmp_path):
    _, cache = odd_cache
    for option, name in (("--png", "p.png"), ("--gif", "p.gif")):
        picture = tmp_path / widened(name)
        done = tcam("inspect", cache, f"bird/{widened(ODD)}", option, picture)
        assert done.exit_code == 0, done.output
        with Image.open(picture) as image:
            assert image.width > 240
