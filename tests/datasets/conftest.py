"""Tiny tagged videos on disk, and manifests of them."""

import shutil
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tcam_cache.records import Shot

CLASSES = ("aeroplane", "bird", "boat", "car", "cat", "cow", "dog", "horse", "motorbike", "train")


@pytest.fixture
def add_frames():
    """Return a function that writes `count` small frames into a folder, and returns the folder."""

    def add(folder: Path, count: int = 3, size: tuple[int, int] = (16, 12), suffix: str = ".jpg") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            Image.new("RGB", size, (number * 20, 90, 40)).save(folder / f"frame{number:04d}{suffix}")
        return folder

    return add


@pytest.fixture
def two_classes(tmp_path, add_frames):
    """Return a root with bird/0001/{001,002}, bird/0002 and car/0001/001, three 16x12 frames each."""
    for folder in ("bird/0001/001", "bird/0001/002", "bird/0002", "car/0001/001"):
        add_frames(tmp_path / "data" / folder)
    return tmp_path / "data"


@pytest.fixture
def make_shot():
    """Return a function that makes a shot record whose frames need not exist."""

    def make(shot_id="bird/0001/001", tag="bird", video="bird/0001", split="train", count=4, boxes=None):
        frames = tuple(f"frame{number:04d}.jpg" for number in range(1, count + 1))
        return Shot(shot_id, tag, video, split, shot_id, frames, boxes or {})

    return make


@pytest.fixture
def write_lines():
    """Return a function that writes lines of text into a file, and returns the file."""

    def write(path: Path, *lines: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def save_mat(path, name, value, version=5):
    """Write an array, a list of arrays (a cell) or a list of dicts (a struct array) into a .mat file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if version == 5:
        savemat(path, {name: _version_5(value)})
        return
    with h5py.File(path, "w", userblock_size=512) as file:
        _put_73(file, file, name, value)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def _version_5(value):
    if not isinstance(value, list):
        return value
    structs = bool(value) and isinstance(value[0], dict)
    array = np.empty((1, len(value)), [(key, object) for key in value[0]] if structs else object)
    for number, item in enumerate(value):
        array[0, number] = tuple(item.values()) if structs else item
    return array


def _put_73(file, group, name, value):
    if isinstance(value, list):
        structs = bool(value) and isinstance(value[0], dict)
        columns = {key: [item[key] for item in value] for key in value[0]} if structs else {name: value}
        inside = group.create_group(name) if structs else group
        for key, items in columns.items():
            refs = np.array([_ref_73(file, item) for item in items], h5py.ref_dtype).reshape(-1, 1)
            inside.create_dataset(key, data=refs, dtype=h5py.ref_dtype)
        (inside if structs else inside[name]).attrs["MATLAB_class"] = np.bytes_(
            "struct" if structs else "cell"
        )
    elif isinstance(value, str):
        group[name] = np.array([[ord(letter)] for letter in value], np.uint16)
        group[name].attrs["MATLAB_class"] = np.bytes_("char")
    else:
        group[name] = np.asarray(value).T
        group[name].attrs["MATLAB_class"] = np.bytes_("double")


def _ref_73(file, value):
    hidden = file.require_group("#refs#")
    name = f"item{len(hidden)}"
    _put_73(file, hidden, name, value)
    return hidden[name].ref


@pytest.fixture
def write_mat():
    """Return the function that writes one variable into a .mat file of version 5 or 7.3."""
    return save_mat


def add_image(path, size=(32, 24)):
    """Write a small grey image, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path)
    return path


def add_sidecar(image, *boxes, version=5):
    """Write the boxes of an image of YouTube-Objects v1 beside it."""
    save_mat(
        image.with_name(f"{image.name}_sticks.mat"),
        "coor",
        [np.array([box], float) for box in boxes],
        version,
    )


def write_ytov1(root, version):
    """Write a small tree of YouTube-Objects v1.0: of each class 0001..0007 for training, 0008 for test.

    Of the training videos 0007 has no boxes. Both known defects of boxes are in, an empty shot and a gap.
    """
    for tag in CLASSES:
        for number in range(1, 9):
            shot = root / f"{tag}/data/{number:04d}/shots/001"
            images = [add_image(shot / f"frame{t:04d}.jpg") for t in (1, 2)]
            if number != 7:
                add_sidecar(
                    images[0], (2.5, 3, 20, 18), *([(-1, 1, 9, 9)] if number == 8 else []), version=version
                )
        (root / f"{tag}/sets").mkdir()
        (root / f"{tag}/sets/train.txt").write_text("".join(f"{n:04d}\n" for n in range(1, 8)))
        (root / f"{tag}/sets/test.txt").write_text("0008\n")
    (root / "bird/data/0001/shots/002").mkdir()
    for t in (1, 2, 5):
        add_image(root / f"bird/data/0001/shots/003/frame{t:04d}.jpg")
    add_sidecar(add_image(root / "horse/data/0004/shots/055/frame0020.jpg"), (20, 3, 2, 18), version=version)
    add_sidecar(add_image(root / "boat/data/0006/shots/026/frame0001.jpg"), (0, 3, 40, 18), version=version)
    for name in ("code", "vo-release", "thumbnails"):
        (root / name).mkdir()
    return root


# Shots of each class of v2.2: first frame, last frame, video; the first columns are not those of video 1.
RANGES = [(1, 3, 4), (4, 6, 2), (7, 8, 1), (9, 10, 3), (11, 12, 5), (13, 14, 5), (15, 16, 6)]


def write_ytov2_2(root, version):
    """Write a small tree of YouTube-Objects v2.2: videos 4, 2, 1, 3 for training, 5 for test, 6 bare.

    Class horse has two more shots, of video 7, that share frame 38465.
    """
    for tag in CLASSES:
        ranges = RANGES + ([(38463, 38465, 7), (38465, 38466, 7)] if tag == "horse" else [])
        for first, last, _ in ranges:
            for number in range(first, last + 1):
                add_image(root / f"{tag}/{number:08d}.jpg")
        save_mat(root / f"Ranges/ranges_{tag}.mat", "ranges", np.array(ranges, np.uint16).T, version)
        truth = {
            "Training": {1: [(2, 3, 20, 18)], 5: [(1, 1, 9, 9)], 7: [(1, 1, 9, 9)], 10: [(1, 2, 32, 24)]},
            "Test": {11: [(2, 3, 20, 18), (5, 5, 9, 9)], 14: [(1, 1, 9, 9)]},
        }
        for part, frames in truth.items():
            entries = [{"im": f"{tag}{n:08d}", "bb": np.array(boxes, float)} for n, boxes in frames.items()]
            name = f"bb_gt{part}"
            save_mat(root / f"GroundTruth/{tag}/{name}_{tag}.mat", name, entries, version)
    add_image(root / "aeroplane/00000099.jpg")
    return root


@pytest.fixture(scope="session", params=[5, 7.3], ids=["mat5", "mat7.3"])
def whole_ytov1(request, tmp_path_factory):
    """A small tree of YouTube-Objects v1.0, never to be changed."""
    return write_ytov1(tmp_path_factory.mktemp("ytov1") / "data", request.param)


@pytest.fixture(scope="session", params=[5, 7.3], ids=["mat5", "mat7.3"])
def whole_ytov2_2(request, tmp_path_factory):
    """A small tree of YouTube-Objects v2.2, never to be changed."""
    return write_ytov2_2(tmp_path_factory.mktemp("ytov2_2") / "data", request.param)


@pytest.fixture(scope="session")
def _ytov1(tmp_path_factory):
    return write_ytov1(tmp_path_factory.mktemp("ytov1") / "data", 5)


@pytest.fixture(scope="session")
def _ytov2_2(tmp_path_factory):
    return write_ytov2_2(tmp_path_factory.mktemp("ytov2_2") / "data", 5)


@pytest.fixture
def ytov1(_ytov1, tmp_path):
    """A small tree of YouTube-Objects v1.0 that a test may damage."""
    return shutil.copytree(_ytov1, tmp_path / "ytov1")


@pytest.fixture
def ytov2_2(_ytov2_2, tmp_path):
    """A small tree of YouTube-Objects v2.2 that a test may damage."""
    return shutil.copytree(_ytov2_2, tmp_path / "ytov2_2")


@pytest.fixture
def sidecar():
    """Return the function that writes the boxes of an image of YouTube-Objects v1 beside it."""
    return add_sidecar


def save_video(path, frames, codec="mpeg4", rate=24, **options):
    """Encode (T, h, w, 3) uint8 frames into a video file, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"qscale": "2", **{key: str(value) for key, value in options.items()}}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def scene(seed, length=20, size=(48, 64)):
    """Return frames of one scene: coarse noise that moves a little from frame to frame."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[0] // 8, size[1] // 8 + length // 8 + 2, 3)).astype(np.uint8)
    wide = coarse.repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([wide[:, t : t + size[1]] for t in range(length)])


@pytest.fixture
def write_video():
    """Return the function that encodes frames into a video file."""
    return save_video


@pytest.fixture
def make_scene():
    """Return the function that draws the frames of one scene."""
    return scene
