"""Time indexing, loading, decoding, and the demo set: `pytest tests/benchmarks/bench_datasets.py -s`.

The tree at true scale takes half a million hard links; a build of a slice of it takes a few minutes.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tcam_cache.datasets import (
    ImageFrames,
    Manifest,
    VideoFrames,
    expected_data,
    index_folders,
    read_manifest,
    scan_videos,
    write_demo,
    write_manifest,
)
from tcam_cache.records import Shot

REAL = Path(__file__).parents[2] / "../shared/data"
CLASSES = tuple(f"class{number}" for number in range(10))
VIDEOS, SHOTS, FRAMES = 155, 5507, 571_089

pytestmark = pytest.mark.benchmark


def timed(label: str, work: Callable[[], Any]) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    print(f"{label}: {time.perf_counter() - wall:.2f} s wall, {time.process_time() - cpu:.2f} s CPU")
    return result


def shots_at_true_scale() -> tuple[Shot, ...]:
    shots = []
    for number in range(SHOTS):
        video = number * VIDEOS // SHOTS
        tag = CLASSES[video * len(CLASSES) // VIDEOS]
        folder = f"{tag}/data/{video:04d}/shots/{number:03d}"
        length = FRAMES // SHOTS + (number < FRAMES % SHOTS)
        frames = tuple(f"frame{t:04d}.jpg" for t in range(1, length + 1))
        shots.append(Shot(folder, tag, f"{tag}/{video:04d}", "train", folder, frames))
    return tuple(shots)


def test_a_manifest_at_the_scale_of_youtube_objects(tmp_path):
    manifest = Manifest(tmp_path, "folders", CLASSES, shots_at_true_scale())
    assert manifest.frame_count == FRAMES
    timed("write", lambda: write_manifest(manifest, tmp_path / "m.jsonl"))
    read = timed("read and digest", lambda: (read_manifest(tmp_path / "m.jsonl"), manifest.digest())[0])
    assert read == manifest


# A file takes at most 65,000 links.
PICTURES = 12
# Annotated frames of each split; these training videos have none, which gives the published val videos.
ANNOTATED = {"train": 73, "val": 325, "test": 346}
BARE = ("dog/data/0013", "dog/data/0014", "dog/data/0018", "motorbike/data/0009", "motorbike/data/0010")
# Runs a command in a process of its own and says what it took: seconds, and the most memory it held.
MEASURED = """
import json, resource, sys, time
from tcam_cache_cli.main import main
began = time.perf_counter()
try:
    main(sys.argv[1:], standalone_mode=False)
finally:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": most}))
"""


def measured(*args: Any) -> dict[str, Any]:
    """Run a command in a new process; return what it took beside what it said."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, args), "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, _, took = done.stdout.rstrip().rpartition("\n")
    return {**json.loads(said), **json.loads(took)}


@pytest.fixture(scope="module")
def true_scale(tmp_path_factory):
    """YouTube-Objects v1 in its true numbers: 155 videos, 5,507 shots, 571,089 frames that are hard links."""
    root = tmp_path_factory.mktemp("scale") / "YouTube-Objects-v1.0"
    root.mkdir()
    rng = np.random.default_rng(0)
    pictures = [root.parent / f"{number}.jpg" for number in range(PICTURES)]
    for path in pictures:
        coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
    boxes = np.empty((1, 1), object)
    boxes[0, 0] = np.array([[50.0, 60, 300, 310]])
    savemat(root.parent / "boxes.mat", {"coor": boxes})
    videos = dict(sorted(expected_data("ytov1").splits.items()))
    annotated = {
        split: [video for video, its in videos.items() if its == split and video not in BARE]
        for split in ANNOTATED
    }
    made = 0
    for number, (video, split) in enumerate(videos.items()):
        first, last = (SHOTS * n // len(videos) for n in (number, number + 1))
        boxed = 0
        if video in annotated[split]:
            of, place = len(annotated[split]), annotated[split].index(video)
            boxed = ANNOTATED[split] * (place + 1) // of - ANNOTATED[split] * place // of
        for shot in range(first, last):
            folder = root / video / f"shots/{shot - first + 1:03d}"
            folder.mkdir(parents=True)
            for t in range(FRAMES * shot // SHOTS, FRAMES * (shot + 1) // SHOTS):
                name = folder / f"frame{t - FRAMES * shot // SHOTS + 1:04d}.jpg"
                os.link(pictures[made % PICTURES], name)
                made += 1
            if shot - first < boxed:
                os.link(root.parent / "boxes.mat", folder / "frame0001.jpg_sticks.mat")
        sets = root / video.partition("/")[0] / "sets"
        sets.mkdir(exist_ok=True)
        for part in ("train", "test"):
            with (sets / f"{part}.txt").open("a") as file:
                if part == ("test" if split == "test" else "train"):
                    file.write(f"{video.rpartition('/')[2]}\n")
    return root


def test_youtube_objects_v1_at_true_scale_is_indexed_in_a_minute(true_scale, tmp_path):
    indexed = measured("manifest", true_scale, "--layout", "ytov1", "--out", tmp_path / "m.jsonl")
    found = [
        sum(split[what] for split in indexed["splits"].values()) for what in ("videos", "shots", "frames")
    ]
    print(f"\nindex {found}: {indexed['seconds']:.1f} s, {indexed['megabytes']:.0f} MB")
    assert found == [VIDEOS, SHOTS, FRAMES]
    assert [split["videos"] for split in indexed["splits"].values()] == [78, 50, 27]
    assert indexed["seconds"] < 60 and indexed["megabytes"] < 500
    began = time.perf_counter()
    read = read_manifest(tmp_path / "m.jsonl")
    loaded = time.perf_counter() - began
    digest = read.digest()
    print(f"load {loaded:.2f} s, hash {time.perf_counter() - began - loaded:.2f} s")
    assert digest == indexed["digest"] and time.perf_counter() - began < 2


def test_a_slice_of_it_says_how_long_the_whole_would_take(true_scale, tmp_path):
    places = {name: tmp_path / name for name in ("m.jsonl", "g.pt", "cache")}
    share = measured(
        "manifest", true_scale, "--layout", "ytov1", "--out", places["m.jsonl"], "--fraction", 0.02
    )
    frames = sum(split["frames"] for split in share["splits"].values())
    fit = ["--arch", "squeezenet1_1", "--weights", "none", "--epochs", 1, "--select", "last"]
    measured("classifier", places["m.jsonl"], "--out", places["g.pt"], *fit)
    built = measured("build", places["m.jsonl"], "--classifier", places["g.pt"], "--out", places["cache"])
    assert built["frames"] == frames
    hours = built["seconds"] / frames * FRAMES / 3600
    print(f"\nbuild of {frames} frames, squeezenet1_1: {built['seconds']:.0f} s; all {FRAMES}: {hours:.1f} h")


def test_the_demo_set(tmp_path):
    timed("write the demo set", lambda: write_demo(tmp_path))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.jpg"))
    print(f"{size / 1e6:.1f} MB")


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not beside the checkout")
@pytest.mark.parametrize("name", ["davis", "yto_mini"])
def test_real_video(name):
    manifest = timed(f"index {name}", lambda: index_folders(REAL / name))
    source, keys = (
        ImageFrames(manifest.root),
        [(shot, t) for shot in manifest.shots for t in range(len(shot))][:400],
    )
    timed(f"decode and squash {len(keys)} frames", lambda: [source.read(shot, t, 256) for shot, t in keys])


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not beside the checkout")
@pytest.mark.parametrize("name", ["davis-car-turn.mp4", "davis-mallard-water.avi"])
def test_real_video_files(name, tmp_path):
    (tmp_path / "tag").mkdir()
    (tmp_path / "tag" / name).symlink_to((REAL / "clips" / name).resolve())
    (shot,) = timed(f"index {name}", lambda: scan_videos(tmp_path, workers=1)).shots
    source, order = VideoFrames(tmp_path), np.random.default_rng(0).permutation(len(shot)).tolist()
    timed("80 frames in order, squashed", lambda: [source.read(shot, t, 256) for t in range(len(shot))])
    timed("80 frames at random, squashed", lambda: [source.read(shot, t, 256) for t in order])
