"""Time indexing, loading, decoding and the demo set: `pytest tests/benchmarks/bench_datasets.py -s`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcam_cache.datasets import (
    ImageFrames,
    Manifest,
    index_folders,
    read_manifest,
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


def test_the_demo_set(tmp_path):
    timed("write the demo set", lambda: write_demo(tmp_path))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.jpg"))
    print(f"{size / 1e6:.1f} MB")


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not beside the checkout")
@pytest.mark.parametrize("name", ["davis", "yto_mini"])
def test_real_video(name):
    manifest = timed(f"index {name}", lambda: index_folders(REAL / name, REAL / name / "annotations.csv"))
    source, keys = (
        ImageFrames(manifest.root),
        [(shot, t) for shot in manifest.shots for t in range(len(shot))][:400],
    )
    timed(f"decode and squash {len(keys)} frames", lambda: [source.read(shot, t, 256) for shot, t in keys])
