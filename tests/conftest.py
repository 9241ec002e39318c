"""A tiny data set of real JPEGs, what every stage makes of it, and small configs and networks."""

import csv
import gc
import io
import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, settings
from PIL import Image

from tcam_cache.cache import CamCache
from tcam_cache.config import BuildConfig, ClassifierConfig, EvaluateConfig, train_config
from tcam_cache.datasets import read_manifest, write_manifest
from tcam_cache.progress import QUIET

# One core, as in the time that is promised, and the same sums whatever machine runs the tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])


settings.load_profile("suite")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Run the whole suite in up to four processes, and named tests in this one, where a debugger works.

    One more than cores: many tests wait for processes that they started, or for a signal.
    """
    if config.args_source is not config.ArgsSource.TESTPATHS:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, cores + 1)


# What takes longest, in this order: started first, no core waits for one of them at the end.
LONG_FILES = (
    "tests/test_realdata.py",
    "tests/stages/test_train_survival.py",
    "tests/test_types.py",
    "tests/stages/test_train_ranks.py",
    "tests/stages/test_evaluate.py",
    "tests/cams/test_extractor.py",
    "tests/cams/test_inner_modules.py",
    "tests/stages/test_train.py",
    "tests/cli/test_cli_build.py",
    "tests/building/test_jobs.py",
    "tests/stages/test_predict.py",
    "tests/stages/test_backbones.py",
    "tests/models/test_timm_backbone.py",
    "tests/stages/test_locate.py",
    "tests/stages/test_build_survival.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Put the tests of the long files first, in the order above."""
    ranks = {config.rootpath / name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """Let the process end at once: pytest and Python would collect all that torch has made, eight times."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # Imported here: the process that deals out the tests has no use for it.
    import torch

    # Processes that are forked from this one cannot use its threads.
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk():
    # What is tested survives a killed process, not a power cut.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _blank_curves():
    # Drawing takes as long as a small fit itself; `small_classifier` and `small_run` have real ones.
    with _curves(lambda log: b""):
        yield


@contextmanager
def _curves(draw):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tcam_cache.training.loop.draw_curves", draw)
        yield


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
# Networks from random weights learn by steps, and see little at other scales of so small a frame.
BY_STEPS = {"preset": "paper"}
ONE_SCALE = {"preset": "paper"}
MANY_SEEDS = {"preset": "paper", "fg_top": 0.1, "pixels": 100, "cross_entropy": "batch-mean"}


def options(settings):
    """Return settings as arguments of the command line."""
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]


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
    from tcam_cache.stages.manifest import index_dataset

    out = small_data.parent / "manifest.jsonl"
    annotations = small_data / "annotations.csv"
    index_dataset(ManifestConfig(source=small_data, layout="folders", out=out, annotations=annotations))
    return out


@pytest.fixture(scope="session")
def small_classifier(small_manifest):
    """A squeezenet1_1 fitted for two epochs from random weights."""
    from tcam_cache.config import ClassifierConfig
    from tcam_cache.stages.classifier import fit_classifier
    from tcam_cache.training.plots import draw_curves

    out = small_manifest.parent / "g.pt"
    settings = {"arch": "squeezenet1_1", "weights": "none", "epochs": 2, "batch_size": 8, "lr": 0.002}
    with _curves(draw_curves):
        fit_classifier(ClassifierConfig(manifest=small_manifest, out=out, **BY_STEPS, **settings, **QUICK))
    return out


@pytest.fixture(scope="session")
def small_cache(small_manifest, small_classifier):
    """The complete cache of `small_manifest`."""
    from tcam_cache.config import BuildConfig
    from tcam_cache.stages.build import build_cache

    out = small_manifest.parent / "cache"
    places = {"manifest": small_manifest, "classifier": small_classifier, "out": out}
    build_cache(BuildConfig(**places, **ONE_SCALE, **QUICK))
    return out


@pytest.fixture(scope="session")
def small_run(small_manifest, small_cache):
    """A decoder an eighth as wide, trained for two epochs."""
    from tcam_cache.config import train_config
    from tcam_cache.stages.train import train_decoder
    from tcam_cache.training.plots import draw_curves

    out = small_manifest.parent / "run"
    settings = {**MANY_SEEDS, "epochs": 2, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16}
    with _curves(draw_curves):
        train_decoder(train_config(manifest=small_manifest, cache=small_cache, out=out, **settings, **QUICK))
    return out


@contextmanager
def command_line():
    """Yield what `tcam` returns, and leave the logging as it was."""
    from tcam_cache_cli.main import main

    logger = logging.getLogger("tcam_cache")
    before, quiet = (logger.handlers, logger.level, logger.propagate), QUIET.get()

    def run(*args):
        return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)

    yield run
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
    QUIET.set(quiet)


@pytest.fixture
def tcam():
    """Return a function that runs `tcam-cache ARGS...` in this process and returns click's result.

    An exception that the command line does not turn into a message is raised: the test fails with it.
    """
    with command_line() as run:
        yield run


@pytest.fixture(scope="module")
def tcam_of_module():
    """Return what `tcam` does, to the fixtures that a module makes once."""
    with command_line() as run:
        yield run


@pytest.fixture(scope="session")
def quick():
    """Return the settings that keep a small stage quick, as keywords of its config."""
    return dict(QUICK)


@pytest.fixture(scope="session")
def many_seeds():
    """Return what pseudo-labels small decoders train on, as keywords of `train_config`."""
    return dict(MANY_SEEDS)


@pytest.fixture(scope="session")
def one_scale():
    """Return the arguments under which `build` makes the maps of `small_cache`."""
    return options(ONE_SCALE)


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


@pytest.fixture(scope="session")
def commands():
    """Return a function that runs `tcam-cache ARGS` of each list at once, in processes that a signal ends."""
    script = Path(__file__).parent / "stages" / "cli_zygote.py"
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(*runs, kill_after=None, number=signal.SIGKILL):
        order = {"runs": [[str(arg) for arg in args] for args in runs]}
        process.stdin.write(json.dumps({**order, "kill_after": kill_after, "number": number}) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield run
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=60)


@pytest.fixture(scope="session")
def command(commands):
    """Return a function that runs one `tcam-cache ARGS` as `commands` does."""
    return lambda *args, **how: commands(args, **how)[0]


@pytest.fixture
def classifier_config(small_manifest, tmp_path, quick):
    """Return a maker of configs that fit a squeezenet1_1 from random weights for one epoch."""
    settings = {"arch": "squeezenet1_1", "weights": "none", "epochs": 1, "batch_size": 8, "lr": 0.002}
    settings |= BY_STEPS
    defaults = {"manifest": small_manifest, "out": tmp_path / "g.pt", **settings, **quick}
    return lambda **given: ClassifierConfig(**{**defaults, **given})


@pytest.fixture
def build_config(small_manifest, small_classifier, tmp_path, quick):
    """Return a maker of configs that build the small cache into a new folder."""
    places = {"manifest": small_manifest, "classifier": small_classifier, "out": tmp_path / "cache"}
    return lambda **given: BuildConfig(**{**places, **ONE_SCALE, **quick, **given})


@pytest.fixture
def decoder_config(small_manifest, small_cache, tmp_path, quick):
    """Return a maker of configs that train a narrow decoder for one epoch into a new folder."""
    settings = {"epochs": 1, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16}
    places = {"manifest": small_manifest, "cache": small_cache, "out": tmp_path / "run"}

    def make(preset=None, **given):
        method = {"preset": preset} if preset else MANY_SEEDS
        return train_config(**{**method, **places, **settings, **quick, **given})

    return make


@pytest.fixture
def evaluate_config(small_manifest, tmp_path):
    """Return a maker of configs that score small maps into a new folder, without pictures."""
    defaults = {"manifest": small_manifest, "out": tmp_path / "report", "workers": 0, "overlays": 0}
    # Every threshold of a map of the default side takes ten times as long.
    defaults["map_size"] = 64
    return lambda **given: EvaluateConfig(**{**defaults, **given})


@pytest.fixture
def data_copy(small_data, tmp_path):
    """A copy of the data set that a test may damage; give it as `root`."""
    return shutil.copytree(small_data, tmp_path / "data")


@pytest.fixture
def without_boxes(small_manifest, tmp_path):
    """The manifest without a single box."""
    manifest = read_manifest(small_manifest)
    bare = tuple(replace(shot, boxes={}) for shot in manifest.shots)
    write_manifest(replace(manifest, shots=bare), tmp_path / "m.jsonl")
    return tmp_path / "m.jsonl"


@pytest.fixture
def fails(tcam):
    """Return a function that runs a command, makes sure it ends with one named error, and returns that."""

    def run(*args):
        result = tcam(*args)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        assert result.stderr.count("Error: ") == 1 and "Traceback" not in result.stderr
        return result.stderr[result.stderr.index("Error: ") :]

    return run


@pytest.fixture
def index(data_copy, tmp_path):
    """Return the arguments that index the copy of the data set, with its annotations."""
    places = ["--annotations", data_copy / "annotations.csv", "--out", tmp_path / "m.jsonl"]
    return ["manifest", data_copy, "--layout", "folders", "--workers", 0, *places]


@pytest.fixture
def build(small_manifest, small_classifier, data_copy, tmp_path):
    """Return the arguments that build the small cache out of the copy of the data set."""
    given = ["--classifier", small_classifier, "--root", data_copy, "--image-size", 64, "--workers", 0]
    given += options(ONE_SCALE)
    return ["build", small_manifest, *given, "--out", tmp_path / "cache"]


@pytest.fixture
def train(small_manifest, tmp_path):
    """Return the arguments that train a narrow decoder; the cache is missing."""
    given = ["--image-size", 64, "--workers", 0, "--landmarks", 16, "--decoder-width", 0.125, "--epochs", 1]
    given += options(MANY_SEEDS)
    return ["train", small_manifest, *given, "--out", tmp_path / "run"]


@pytest.fixture(scope="session")
def same_arrays():
    """Return a function that makes sure that two cache folders hold the same finished shots and numbers."""

    def check(ours, theirs):
        ours, theirs = CamCache.open(ours), CamCache.open(theirs)
        assert ours.shots() == theirs.shots()
        for shot in theirs.shots():
            assert np.array_equal(ours.cams(shot.id), theirs.cams(shot.id))
            for one, other in zip(
                vars(ours.stats(shot.id)).values(), vars(theirs.stats(shot.id)).values(), strict=True
            ):
                assert np.array_equal(one, other)

    return check


CLASSES = ("bird", "boat", "cat", "dog")


def random_classifier(arch, output_stride=16, seed=0):
    """Return a frozen classifier in float64 whose head and batch norms have seen something, to be changed."""
    return deepcopy(_drawn_classifier(arch, output_stride, seed))


def _thin_resnet18():
    """Return torchvision's ResNet-18 whose blocks have an eighth of their channels."""
    from tcam_cache.models.backbone import torchvision_models

    resnet = torchvision_models().resnet

    class Thin(resnet.ResNet):
        def _make_layer(self, block, planes, *given, **named):
            return super()._make_layer(block, planes // 8, *given, **named)

    return Thin(resnet.BasicBlock, [2, 2, 2, 2])


# Drawing the values of a network and tracing it takes ten times as long as copying it.
@lru_cache(maxsize=8)
def _drawn_classifier(arch, output_stride, seed):
    import torch
    from torch import nn

    from tcam_cache.models import Classifier

    torch.manual_seed(seed)
    network = _thin_resnet18() if arch == "resnet18" else None
    model = Classifier(arch, CLASSES, output_stride, network=network).double()
    nn.init.normal_(model.head.weight)
    nn.init.normal_(model.head.bias)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
    return model.freeze()


@pytest.fixture(scope="session")
def undrawn():
    """Return a context in which weights of new networks are not drawn: that takes seconds for large ones."""
    from torch import nn

    draws = [
        f"{name}_" for name in ("normal", "uniform", "kaiming_normal", "kaiming_uniform", "trunc_normal")
    ]

    @contextmanager
    def context():
        with pytest.MonkeyPatch.context() as patch:
            for name in draws:
                patch.setattr(nn.init, name, lambda tensor, *_given, **_named: tensor)
            yield

    return context


@pytest.fixture(scope="session")
def without_numbers(undrawn):
    """Return a function that makes a classifier once whose shapes alone count; no test changes it."""
    from tcam_cache.models import Classifier

    @cache
    def make(arch, output_stride=None, **options):
        with undrawn():
            return Classifier(arch, ("a", "b"), output_stride, **options).eval()

    return make


def random_images(batch=3, height=32, width=48, seed=1):
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, dtype=torch.float64, generator=generator)


@pytest.fixture(scope="session", name="random_classifier")
def _random_classifier():
    return random_classifier


@pytest.fixture(scope="session", name="random_images")
def _random_images():
    return random_images


@pytest.fixture(scope="session", params=["resnet18", "squeezenet1_1"])
def model(request):
    """A ResNet with BatchNorm and a chain without, frozen, in float64; no test changes it."""
    return random_classifier(request.param)
