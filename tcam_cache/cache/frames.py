"""Training frames stored beside the CAMs: squashed and re-encoded once, one object per shot.

frames/000000.bin   MAGIC, the header's length in 8 bytes, the header as JSON, then one JPEG after the other
"""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tcam_cache.cache.commits import ShotIndex
from tcam_cache.cache.objects import Objects, WritableObjects
from tcam_cache.errors import CacheError
from tcam_cache.provenance import sha256_of
from tcam_cache.records import Frame, FrameSource, Shot

FOLDER = "frames"
MAGIC = b"TCAMFRM1"
# The key of the header with the digest of its other keys.
HEADER_DIGEST = "header_sha256"
# Upper bounds in bytes: of a header without its lists, and of its entries for one frame.
LARGEST_HEADER, LARGEST_ENTRY = 65536, 128
# No JPEG is larger: a damaged length must not lead to a huge allocation.
LARGEST_IMAGE = 2**30
HEADER_KEYS = {"fingerprint", "shot", "side", "sizes", "lengths", "sha256"}
# No chroma subsampling: crops of 224 pixels use every pixel.
JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}


@dataclass(frozen=True)
class ShotFrames:
    """The squashed and encoded frames of one shot.

    Attributes:
        side: of the squashed frames, in pixels.
        sizes: (width, height) of each original frame.
        images: each squashed frame as a JPEG.
    """

    side: int
    sizes: tuple[tuple[int, int], ...]
    images: tuple[bytes, ...]


class _Header(NamedTuple):
    """The part of a shot's header that is kept in memory: 16 bytes per frame.

    Attributes:
        side: of the squashed frames.
        sizes: (T, 2) int32, width and height of the originals.
        starts: (T + 1,) int64, byte offset of each frame in the object, and of the end of the last.
        sha256: digest of the encoded frames.
    """

    side: int
    sizes: np.ndarray
    starts: np.ndarray
    sha256: str


def encode_frame(pixels: np.ndarray) -> bytes:
    """Return (S, S, 3) uint8 RGB as a JPEG of quality 95 without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **JPEG)
    return buffer.getvalue()


class FrameFolder:
    """The stored frames of one cache, by shot; picklable."""

    def __init__(self, objects: Objects, fingerprint: str, index: ShotIndex) -> None:
        self._objects, self._fingerprint, self._index = objects, fingerprint, index
        self._headers: dict[str, _Header] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_headers": {}}

    def side(self, shot_id: str) -> int | None:
        """Return the side of a shot's stored frames, or None where none are stored."""
        header = self._header(shot_id)
        return header.side if header else None

    def read(self, shot_id: str, t: int) -> Frame:
        """Return frame t of a shot as stored (squashed), with its original width and height.

        Raises:
            CacheError: it is damaged.
        """
        header = self._header(shot_id)
        start, stop = header.starts[t : t + 2].tolist() if header else (0, 0)
        width, height = header.sizes[t].tolist() if header else (0, 0)
        data = self._objects.get_range(self.name(shot_id), start, stop) if header else None
        try:
            with Image.open(io.BytesIO(data or b"")) as image:
                if header is None or (image.mode, *image.size) != ("RGB", header.side, header.side):
                    raise ValueError(f"got an image {image.mode} {image.size}")
                return Frame(np.array(image), width, height)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise CacheError(
                f"{self._objects.where(self.name(shot_id))} is damaged at frame {t}. Delete it and run "
                "`tcam-cache build --frames` again."
            ) from error

    def problems(self) -> list[str]:
        """Read all stored frames, and return one line per damage."""
        shots = {self.name(shot_id).removeprefix(f"{FOLDER}/"): shot_id for shot_id in self._index.ids}
        return [
            f"{name}: is damaged; delete it and run `tcam-cache build --frames` again"
            for file in self._objects.present(FOLDER, shots)
            if not self._is_whole(shots[file])
            and self._objects.get_range(name := f"{FOLDER}/{file}", 0, 1) is not None
        ]

    def name(self, shot_id: str) -> str:
        """Return the name of a shot's object."""
        return f"{FOLDER}/{self._index.position(shot_id):06d}.bin"

    def _is_whole(self, shot_id: str) -> bool:
        header = self._header(shot_id)
        if header is None:
            return False
        payload = self._objects.get_range(self.name(shot_id), int(header.starts[0]), None)
        return hashlib.sha256(payload or b"").hexdigest() == header.sha256

    def _header(self, shot_id: str) -> _Header | None:
        if shot_id not in self._headers:
            name, before = self.name(shot_id), len(MAGIC) + 8
            start = self._objects.get_range(name, 0, before)
            if start is None or start[: len(MAGIC)] != MAGIC:
                return None
            length = self._index.lengths[self._index.position(shot_id)]
            first = before + int.from_bytes(start[len(MAGIC) :], "little")
            # A damaged length must not lead to a huge allocation.
            if first > before + LARGEST_HEADER + LARGEST_ENTRY * length:
                return None
            header = _parsed(self._objects.get_range(name, before, first) or b"", first)
            if header is None or header[:2] != (self._fingerprint, shot_id) or len(header[2].sizes) != length:
                return None
            self._headers[shot_id] = header[2]
        return self._headers[shot_id]


class WritableFrameFolder(FrameFolder):
    """The stored frames of a cache that is written."""

    def __init__(self, objects: WritableObjects, fingerprint: str, index: ShotIndex) -> None:
        super().__init__(objects, fingerprint, index)
        self._writable = objects

    def put(self, shot_id: str, frames: ShotFrames) -> None:
        """Store a shot's frames: all of them, or none."""
        payload = b"".join(frames.images)
        header = {
            "fingerprint": self._fingerprint,
            "shot": shot_id,
            "side": frames.side,
            "sizes": [list(size) for size in frames.sizes],
            "lengths": [len(image) for image in frames.images],
            "sha256": hashlib.sha256(payload).hexdigest(),
        }
        data = json.dumps(header | {HEADER_DIGEST: sha256_of(header)}).encode()
        self._writable.put(self.name(shot_id), MAGIC + len(data).to_bytes(8, "little") + data + payload)

    def remove(self, shot_id: str) -> None:
        """Remove a shot's frames, if they are stored."""
        self._headers.pop(shot_id, None)
        self._writable.remove(self.name(shot_id))


def _parsed(data: bytes, first: int) -> tuple[str, str, _Header] | None:
    """Return a header's fingerprint, shot and content, or None where it is damaged."""
    try:
        values = json.loads(data)
        # Headers of earlier versions have no digest.
        digest = values.pop(HEADER_DIGEST, None)
        if digest not in (None, sha256_of(values)) or set(values) != HEADER_KEYS:
            return None
        lengths, sizes = np.array(values["lengths"], np.int64), np.array(values["sizes"], np.int32)
        if lengths.ndim != 1 or sizes.shape != (len(lengths), 2) or (sizes < 1).any():
            return None
        if (lengths < 0).any() or (lengths > LARGEST_IMAGE).any() or not _is_side(values["side"]):
            return None
        starts = first + np.concatenate([[0], lengths.cumsum()])
        header = _Header(values["side"], sizes, starts, values["sha256"])
        return values["fingerprint"], values["shot"], header
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError, RecursionError):
        return None


def _is_side(value: Any) -> bool:
    return type(value) is int and value > 0


class StoredFrames:
    """Reads stored squashed frames, and all others from their original files; a `FrameSource`.

    Stored frames serve sizes up to their own; larger sizes and full frames are read from the originals.
    """

    def __init__(self, folder: FrameFolder, originals: FrameSource) -> None:
        self._folder, self._originals = folder, originals

    def files(self, shot: Shot) -> tuple[Path, ...]:
        """Return the files that hold the originals of a shot's frames."""
        return self._originals.files(shot)

    def read(self, shot: Shot, t: int, size: int | None = None) -> Frame:
        """Decode frame t of a shot; with `size`, squash it to size x size (bilinear, antialiased).

        Raises:
            FrameError: the frame is not stored, and its original cannot be read.
            CacheError: it is stored, and damaged.
        """
        if size is None or (side := self._folder.side(shot.id)) is None or size > side:
            return self._originals.read(shot, t, size)
        frame = self._folder.read(shot.id, t)
        if size == side:
            return frame
        resized = Image.fromarray(frame.pixels).resize((size, size), Image.Resampling.BILINEAR)
        return frame._replace(pixels=np.array(resized))
