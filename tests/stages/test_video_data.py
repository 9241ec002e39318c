"""Tests of the stages on video files: read through worker processes, as frames of images are."""

import json

import av
import numpy as np
import pytest

from tcam_cache.cache import CamCache


@pytest.fixture
def videos(tmp_path):
    """Two classes of three short videos, each of one colour with a moving bright square."""
    for tag, colour in (("bird", (200, 40, 40)), ("car", (40, 40, 200))):
        for number in range(3):
            path = tmp_path / f"videos/{tag}/{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            with av.open(str(path), "w") as container:
                stream = container.add_stream("mpeg4", rate=12)
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                for t in range(6):
                    pixels = np.full((48, 64, 3), colour, np.uint8)
                    pixels[10:30, 4 * t : 4 * t + 20] = 255
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                container.mux(stream.encode())
    rows = [f"{tag}/{n}.mp4/00000250ms,{tag},12,10,32,30,{split}" for tag in ("bird", "car")
            for n, split in enumerate(("train", "val", "test"))]  # fmt: skip
    (tmp_path / "boxes.csv").write_text("\n".join(["frame,class,xmin,ymin,xmax,ymax,split", *rows]))
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
def test_every_stage_reads_video_files(tcam, videos, workers):
    def run(*args):
        result = tcam(*args, "--json", "--workers", workers)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    manifest, g, cache, out = (videos / name for name in ("m.jsonl", "g.pt", "cache", "run"))
    small = ["--image-size", 64]
    table = ["--annotations", videos / "boxes.csv", "--out", manifest]
    assert run("manifest", videos / "videos", "--layout", "videos", *table)["splits"]["val"]["boxes"] == 2
    fit = ["--arch", "squeezenet1_1", "--weights", "none", "--fit", "sgd", "--epochs", 1, "--batch-size", 4]
    run("classifier", manifest, "--out", g, *fit, *small)
    assert run("build", manifest, "--classifier", g, "--out", cache, "--scales", 1, *small)["frames"] == 36
    assert CamCache.open(cache).cams("bird/0.mp4/001").shape[0] == 6
    tiny = ["--epochs", 1, "--decoder-width", 0.125, "--landmarks", 16, "--batch-size", 4]
    run("train", manifest, "--cache", cache, "--out", out, *tiny, *small)
    scored = run("evaluate", manifest, "--run", out, "--out", videos / "report", "--overlays", 2)
    assert scored["frames"] == 2
    assert "bird/2.mp4/00000250ms" in (videos / "report/frames.csv").read_text()
    found = run("predict", out, videos / "videos/car/2.mp4", "--out", videos / "found", "--threshold", 0.5)
    assert found["frames"] == 6
    assert {path.name for path in (videos / "found/overlays").iterdir()} >= {
        "00000000ms.jpg",
        "00000250ms.jpg",
    }


@pytest.mark.parametrize(("content", "reason"), [(None, "missing"), (b"no video", "cannot be decoded")])
def test_a_video_that_cannot_be_read_is_named_by_predict(tcam, small_run, tmp_path, content, reason):
    if content:
        (tmp_path / "clip.mp4").write_bytes(content)
    result = tcam(
        "predict", small_run, tmp_path / "clip.mp4", "--out", tmp_path / "found", "--threshold", 0.5
    )
    assert result.exit_code == 1 and f"clip.mp4: {reason}" in result.stderr
