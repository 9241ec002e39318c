"""Frames a second of `predict` on a 640 x 360 video, beside decoding alone and the bare forward pass.

python tests/benchmarks/bench_predict.py [FRAMES] [RUN...]     (default 300; `locate` makes two)

All in one run, wall and CPU time side by side: on a busy machine compare the latter. Peak memory is that
of a process of its own, for FRAMES and ten times as many.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from tcam_cache import Localizer, LocateConfig, PredictConfig, locate
from tcam_cache.datasets.clip_frames import clip_frames
from tcam_cache.datasets.video import VideoFrames, decoded_frames
from tcam_cache.devices import as_images
from tcam_cache.records import Shot
from tcam_cache.stages.predict import predict

WIDTH, HEIGHT, BATCH = 640, 360, 32
EFFORTS = "quick", "standard"


def write_video(path, frames):
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    scene = np.asarray(Image.fromarray(skimage.data.coffee()).resize((WIDTH + 200, HEIGHT)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for t in range(frames):
            left = abs(t % 400 - 200)
            frame = np.ascontiguousarray(scene[:, left : left + WIDTH])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())


def new_runs(folder):
    """Return a run of each effort of `locate`, trained for a step: only the time of its maps matters."""
    for tag in ("a", "b"):
        for number in (1, 2):
            write_video(folder / f"data/{tag}/{number}.mp4", 16)
    shared = {"source": folder / "data", "workers": 0, "overlays": False, "train": "steps=1 epochs=1"}
    for effort in EFFORTS:
        locate(LocateConfig(out=folder / effort, effort=effort, **shared))
    return [folder / effort / "run" for effort in EFFORTS]


def timed(work):
    """Return what some work returns, and its wall and CPU seconds, children excluded."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def forward(network, localizer, count):
    side = localizer.config.image_size
    rgb = torch.randint(0, 256, (BATCH, 3, side, side), dtype=torch.uint8)
    for _ in range(-(-count // BATCH)):
        with torch.inference_mode():
            network(as_images(rgb, localizer.device))


def peak_of(run, video, out):
    """Return the peak memory in MB of a prediction in its own process."""
    call = f"""
import resource
from tcam_cache import PredictConfig, predict
predict(PredictConfig(run={str(run)!r}, source={str(video)!r}, out={str(out)!r}, overlays=False))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024


def bench(run, video, frames, out):
    localizer = Localizer.open(run)
    shot = Shot("new", "", "new", "test", video.name, ())
    size = localizer.config.image_size
    reading = {"whole": False, "threads": 0, "faults": []}
    works = {
        "decoding alone": lambda: sum(1 for _ in decoded_frames(video)),
        "decoded, in RGB, squashed": lambda: sum(
            1 for _ in clip_frames(VideoFrames(video.parent), shot, size, **reading)
        ),
        "bare forward pass": lambda: forward(localizer.classifier, localizer, frames),
        "maps of frames in memory": lambda: forward(localizer.locate, localizer, frames),
        "predict --no-overlays": lambda: predict(
            PredictConfig(run=run, source=video, out=out / "bare", overlays=False)
        ),
        "predict": lambda: predict(PredictConfig(run=run, source=video, out=out / "drawn")),
    }
    rates = {}
    for name, work in works.items():
        _, wall, cpu = timed(work)
        rates[name] = frames / wall
        print(
            f"  {name:<26} {frames / wall:8.1f} frames/s  {1000 * cpu / frames:7.1f} CPU ms a frame",
            flush=True,
        )
    bare = rates["predict --no-overlays"]
    print(f"  predict is {bare / rates['decoding alone']:.2f} of decoding, "
          f"{bare / rates['bare forward pass']:.2f} of the forward pass, "
          f"{bare / rates['maps of frames in memory']:.2f} of maps of frames in memory")  # fmt: skip


def main(frames=300, *runs):
    print(f"{torch.get_num_threads()} computing thread(s), batches of {BATCH}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video, longer = folder / "clip.mp4", folder / "long.mp4"
        write_video(video, int(frames))
        write_video(longer, 10 * int(frames))
        runs = [Path(run) for run in runs] or new_runs(folder)
        for number, run in enumerate(runs):
            print(run)
            bench(run, video, int(frames), folder / f"out{number}")
        peaks = [peak_of(runs[0], one, folder / f"peak{k}") for k, one in enumerate((video, longer))]
        print(f"  peak memory {peaks[0]:.0f} MB for {frames} frames, {peaks[1]:.0f} MB for ten times as many")
        print(f"  of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
