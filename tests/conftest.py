"""A tiny data set of real JPEGs and what every stage makes of it, each made once a session, in seconds."""

import csv
import io
import logging
import multiprocessing
import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, settings
from PIL import Image

from tcam_cache.progress import QUIET

# One core, as in the time that is promised, and the same sums whatever machine runs the tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

COLOURS = {"bird": (220, 40, 30), "car": (30, 60, 220), "dog": (40, 200, 60)}
# Shots by video: split, then the length of each; one length alone lies in CLASS/VIDEO/.
VIDEOS = {
    "bird/0001": ("train", 6, 1),
    "bird/0002": ("val", 3),
    "bird/0003": ("test", 4),
    "car/0001": ("train", 5, 2),
    "car/0002": ("val", 3),
    "car/0003": ("test", 2, 2),
    "dog/0001": ("train", 4),
    "dog/0002": ("test", 3),
}
WIDTH, HEIGHT = 64, 48
# The settings of every small stage: workers cost more than they save on forty frames.
QUICK = {"workers": 0, "image_size": 64}


def draw_frame(tag, rng):
    """Return noise with one ellipse in the tag's colour, and the ellipse's exact box."""
    pixels = rng.integers(60, 140, (HEIGHT, WIDTH, 3))
    width, height = rng.integers(20, 34), rng.integers(16, 26)
    x0, y0 = rng.integers(1, WIDTH - width), rng.integers(1, HEIGHT - height)
    rows, columns = np.mgrid[:height, :width]
    inside = ((columns + 0.5) / width - 0.5) ** 2 + ((rows + 0.5) / height - 0.5) ** 2 <= 0.25
    pixels[y0 : y0 + height, x0 : x0 + width][inside] = COLOURS[tag]
    return pixels.astype(np.uint8), (x0, y0, x0 + width, y0 + height)


def write_dataset(root):
    """Write the data set below a folder, with annotations.csv in it: every other frame of train has a box."""
    rng, rows = np.random.default_rng(0), []
    for video, (split, *lengths) in VIDEOS.items():
        tag = video.partition("/")[0]
        folders = [video] if len(lengths) == 1 else [f"{video}/{n:03d}" for n in range(1, len(lengths) + 1)]
        for folder, length in zip(folders, lengths, strict=True):
            (root / folder).mkdir(parents=True)
            for t in range(length):
                name = f"{folder}/frame{t + 1:04d}.jpg"
                pixels, box = draw_frame(tag, rng)
                Image.fromarray(pixels).save(root / name, quality=92)
                if split != "train" or t % 2 == 0:
                    rows.append([name, tag, *box, split])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [["frame", "class", "xmin", "ymin", "xmax", "ymax", "split"], *rows]
    )
    (root / "annotations.csv").write_text(text.getvalue())
    return root


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """Three tags, eight videos, eleven shots of 1..6 frames; a test that changes it works on a copy."""
    return write_dataset(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture(scope="session")
def small_manifest(small_data):
    """The manifest of `small_data`."""
    from tcam_cache.config import ManifestConfig
    from tcam_cache.stages.index_dataset import index_dataset

    out = small_data.parent / "manifest.jsonl"
    annotations = small_data / "annotations.csv"
    index_dataset(ManifestConfig(source=small_data, layout="folders", out=out, annotations=annotations))
    return out


@pytest.fixture(scope="session")
def small_classifier(small_manifest):
    """A squeezenet1_1 fitted for two epochs from random weights."""
    from tcam_cache.config import ClassifierConfig
    from tcam_cache.stages.fit_classifier import fit_classifier

    out = small_manifest.parent / "g.pt"
    settings = {"arch": "squeezenet1_1", "weights": "none", "epochs": 2, "batch_size": 8, "lr": 0.002}
    fit_classifier(ClassifierConfig(manifest=small_manifest, out=out, **settings, **QUICK))
    return out


@pytest.fixture(scope="session")
def small_cache(small_manifest, small_classifier):
    """The complete cache of `small_manifest`."""
    from tcam_cache.cache_config import BuildConfig
    from tcam_cache.stages.build_cache import build_cache

    out = small_manifest.parent / "cache"
    build_cache(BuildConfig(manifest=small_manifest, classifier=small_classifier, out=out, **QUICK))
    return out


@pytest.fixture(scope="session")
def small_run(small_manifest, small_cache):
    """A decoder an eighth as wide, trained for two epochs."""
    from tcam_cache.presets import train_config
    from tcam_cache.stages.train_decoder import train_decoder

    out = small_manifest.parent / "run"
    settings = {"epochs": 2, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16}
    train_decoder(train_config(manifest=small_manifest, cache=small_cache, out=out, **settings, **QUICK))
    return out


@pytest.fixture
def tcam(request):
    """Return a function that runs `tcam-cache ARGS...` in this process and returns click's result.

    An exception that the command line does not turn into a message is raised: the test fails with it.
    """
    from tcam_cache_cli.main import main

    logger = logging.getLogger("tcam_cache")
    before, quiet = (logger.handlers, logger.level, logger.propagate), QUIET.get()

    def run(*args):
        return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)

    yield run
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
    QUIET.set(quiet)


@pytest.fixture(scope="session")
def quick():
    """Return the settings that keep a small stage quick, as keywords of its config."""
    return dict(QUICK)


@pytest.fixture
def manifest_lines(small_manifest):
    """Return the lines of the manifest, to be changed and written elsewhere."""
    return Path(small_manifest).read_text().splitlines()


@pytest.fixture
def two_ranks():
    """Return a function that calls another in two processes, as torchrun would start them.

    It returns what each returned or raised.
    """

    def run(call):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        fork = multiprocessing.get_context("fork")
        ends = [fork.Pipe(duplex=False) for _ in range(2)]
        processes = [
            fork.Process(target=_as_rank, args=(rank, port, call, ends[rank][1])) for rank in range(2)
        ]
        for process in processes:
            process.start()
        try:
            for _, theirs in ends:
                theirs.close()
            return [ours.recv() for ours, _ in ends]
        finally:
            for process in processes:
                process.join(timeout=10)
                process.kill()

    return run


@pytest.fixture
def hear_ctrl_c():
    """Let Ctrl-C interrupt this process and those it forks."""
    # A suite that runs in the background inherits a shell's "ignore Ctrl-C".
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def in_turn():
    """Return a function that calls another with each of so many ranks, which gather without processes.

    It returns what each returned. The function called must gather once.
    """
    from tcam_cache.training import Ranks

    class Gathered(Exception):
        pass

    class Pretended(Ranks):
        def gather(self, value):
            if len(values) == self.size:
                return list(values)
            values.append(value)
            raise Gathered

    values = []

    def run(call, size):
        values.clear()
        for rank in range(size):
            with pytest.raises(Gathered):
                call(Pretended(rank, size))
        return [call(Pretended(rank, size)) for rank in range(size)]

    return run


def _as_rank(rank, port, call, pipe):
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test", "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    try:
        result = call()
    except BaseException as error:
        result = error
    pipe.send(result)
