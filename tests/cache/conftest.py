"""Small caches whose every number follows from the shot's id: any process can make them and check them."""

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from tcam_cache.cache import CachePlan, CamCache, CamWriter
from tcam_cache.records import Shot, ShotCams

CLASSES = ("bird", "boat", "cat")
LENGTHS = (5, 1, 130, 128)


def plan_of(lengths=LENGTHS, map_size=(4, 6), **settings):
    """Return a plan with one shot per length, tags and splits in turn."""
    shots = []
    for number, length in enumerate(lengths):
        tag = CLASSES[number % 3]
        video = f"{tag}/{number:04d}"
        frames = tuple(f"frame{t:04d}.jpg" for t in range(length))
        split = ("train", "val", "test")[number % 3]
        shots.append(Shot(f"{video}/001", tag, video, split, f"{video}/001", frames))
    return CachePlan(CLASSES, tuple(shots), map_size, {"method": "layercam", **settings}, {"host": "here"})


def cams_of(shot, map_size=(4, 6)):
    """Return what a classifier could say of a shot; its first frame is flat when the shot has several."""
    generator = np.random.default_rng(zlib.crc32(shot.id.encode()))
    length = len(shot)
    cams = generator.random((length, *map_size)).astype(np.float16)
    flat = np.arange(length) < (length > 1)
    cams[flat] = 0
    raw_min = generator.random(length, np.float32)
    logits = generator.standard_normal((length, len(CLASSES)), np.float32)
    return ShotCams(cams, raw_min, raw_min + 1, flat, logits)


def build_all(path, plan, attachments=None, shard=(0, 1), limit=None):
    """Create or resume a cache and write its pending shots, at most `limit` of them."""
    writer = CamWriter.create(path, plan, attachments)
    for shot in writer.pending(shard)[:limit]:
        writer.write(shot.id, cams_of(shot, plan.map_size))
    return writer


def tree(root):
    """Return the bytes of every file of a cache by name, but for the marker's provenance."""
    root = Path(root)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def path(tmp_path):
    """Where the cache of a test lies."""
    return tmp_path / "cache"


@pytest.fixture
def plan():
    """Four shots of 5, 1, 130 and 128 frames, 4 x 6 maps, three classes."""
    return plan_of()


@pytest.fixture(scope="session")
def _whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "cache"
    build_all(path, plan_of(), {"classifier.pt": b"weights"})
    return path


@pytest.fixture
def cache(path, _whole):
    """The complete cache of `plan`, with one file attached; a test may damage it."""
    shutil.copytree(_whole, path)
    return CamCache.open(path)


@pytest.fixture
def url(monkeypatch, tmp_path):
    """Where the cache of a test lies that is in memory; what is derived from it lies in the test's folder."""
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    yield "memory://some/cache"
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


@pytest.fixture
def system(url, monkeypatch):
    """Return the class of the store in memory as `real`, and a way to replace its methods for one test."""
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem

    class System:
        real = memory

        @staticmethod
        def setattr(name, method):
            monkeypatch.setattr(memory, name, method)

    return System


@pytest.fixture(name="plan_of", scope="session")
def _plan_of():
    return plan_of


@pytest.fixture(name="cams_of", scope="session")
def _cams_of():
    return cams_of


@pytest.fixture(name="build_all", scope="session")
def _build_all():
    return build_all


@pytest.fixture(name="tree", scope="session")
def _tree():
    return tree
