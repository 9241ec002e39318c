"""What `predict` is given, as clips: each is one video, or the pictures of one folder, with its own name."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import has_magic
from pathlib import Path
from typing import Self

from tcam_cache.cells import file_names
from tcam_cache.datasets import (
    ImageFrames,
    Manifest,
    VideoFrames,
    data_depth,
    image_names,
    is_moving,
    read_manifest,
)
from tcam_cache.datasets.boxes_table import PICTURE_FOLDERS
from tcam_cache.datasets.frames import ClipSource, frame_source, rooted
from tcam_cache.datasets.listing import folders_below, made_here
from tcam_cache.datasets.picture_files import frame_names, is_picture
from tcam_cache.datasets.video_file import is_video
from tcam_cache.errors import FrameError
from tcam_cache.names import natural_key
from tcam_cache.records import Shot

STDIN, MANIFEST = "-", ".jsonl"
VIDEO = "boxes.mp4"
# Of the folder of each of several clips: no folder of the user's own has it, INPUT may be OUT.
SUFFIX = ".boxes"


@dataclass(frozen=True)
class Clip:
    """A video, or the pictures of a folder; the unit that is found, resumed and shared out.

    Attributes:
        path: of the video file, or of the folder of pictures.
        source: reads the frames, whose paths start from the root of it.
        shot: the frames; a video without any has all those of its file. Its tag is "" where it is not known.
        name: of its folder below OUT, unique; "" for the only input, whose boxes OUT itself holds.
        lengths: of the shots that its frames are cut into; none where cuts are not known.
        above: what the paths in its boxes.csv start from, below the folder that all clips have in common.
    """

    path: Path
    source: ClipSource
    shot: Shot
    name: str = ""
    above: str = ""
    lengths: tuple[int, ...] = ()

    @property
    def moving(self) -> bool:
        """Whether it is a video file or an animated picture."""
        return isinstance(self.source, VideoFrames)

    def absolute(self) -> Self:
        """Return the clip with absolute paths, which another machine reads as this one does."""
        source = rooted(self.source, self.source.root.absolute())
        return replace(self, path=self.path.absolute(), source=source)


def find_clips(
    inputs: Sequence[Path], out: Path, lines: Iterable[str] = (), tag: str = ""
) -> tuple[tuple[Clip, ...], list[str]]:
    """Return the clips of some inputs, in order, each once, and one text for each input without any.

    One video, one picture, or one folder with pictures alone is a single clip without a name, all pictures
    below the folder together. Of several inputs, and of a folder with videos, every video is a clip, and the
    pictures of every folder are.

    Args:
        inputs: pictures, videos, folders (searched to any depth), manifests (.jsonl; every shot, with its
            tag), patterns such as "*.mp4" where no such file is, or "-" for more of these in `lines`.
        out: where boxes are written: what `predict` wrote there is no input.
        lines: paths, one a line.
        tag: of all clips but those of manifests; "" where it is not known.

    Raises:
        ManifestError: a manifest cannot be read, or a folder cannot be listed.
        FrameError: there is no clip at all.
    """
    paths = [path for entry in inputs for path in _expanded(entry, lines)]
    alone = len(inputs) == 1 and inputs[0] != Path(STDIN) and len(paths) == 1 and _single(paths[0], out)
    if alone:
        return (_tagged(alone, tag),), []
    clips_by_path: dict[Path, Clip] = {}
    roots, faults = [], []
    for path, names in _grouped(paths):
        root, clips = _clips_of(path, names, out, tag)
        if clips:
            roots.append(_absolute(root))
        else:
            faults.append(f"{path}: {'no picture and no video in it' if path.exists() else 'missing'}")
        for clip in clips:
            clips_by_path.setdefault(_absolute(clip.path), clip)
    if not clips_by_path:
        where = str(paths[0]) if len(paths) == 1 else f"any of the {len(paths)} inputs"
        raise FrameError(
            f"there is no image in {where}. Give an image, a folder of images, or a video file.", faults
        )
    return _named(list(clips_by_path.values()), Path(os.path.commonpath(roots))), faults


def share_of(clips: Sequence[Clip], shard: tuple[int, int]) -> Sequence[Clip]:
    """Return one of N shares of the clips: every N-th, from the i-th on."""
    index, count = shard
    return clips[index::count]


def _expanded(entry: Path, lines: Iterable[str]) -> Iterator[Path]:
    if entry == Path(STDIN):
        yield from (Path(line) for text in lines if (line := text.rstrip("\r\n")))
    elif has_magic(str(entry)) and not entry.exists():
        matching = Path(entry.anchor).glob(str(entry.relative_to(entry.anchor)))
        yield from sorted(matching, key=lambda path: natural_key(str(path))) or [entry]
    else:
        yield entry


def _single(path: Path, out: Path) -> Clip | None:
    """Return the clip of an only input, or None where it holds several, or none."""
    if path.suffix == MANIFEST or not path.exists():
        return None
    if path.is_dir():
        if any(is_video(place / name) for place, list_ in folders_below(path, out) for name in list_.others):
            return None
        names = image_names(path, but=out)
        if path.absolute() == out.absolute():
            names = tuple(name for name in names if name.split("/")[0] not in PICTURE_FOLDERS)
        return _pictures(path, names) if names else None
    return _video(path) if is_moving(path) else _pictures(path.parent, (path.name,), path)


def _grouped(paths: Sequence[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Yield each input once; single pictures as their folder with the names of those that are given."""
    inputs, groups = dict.fromkeys(paths), defaultdict[Path, list[str]](list)
    for path in inputs:
        if not (is_picture(path.name) and path.is_file()) or is_moving(path):
            groups[path] = []
        elif path.parent not in inputs:
            groups[path.parent].append(path.name)
    yield from groups.items()


def _clips_of(path: Path, names: list[str], out: Path, tag: str) -> tuple[Path, list[Clip]]:
    """Return the folder that an input's paths start from, and its clips."""
    if path.suffix == MANIFEST and path.is_file():
        manifest = read_manifest(path)
        return manifest.root, list(_of_manifest(manifest))
    if names:
        return path, [_tagged(_pictures(path, names), tag)]
    if path.is_dir():
        return path, [_tagged(clip, tag) for clip in _below(path, out)]
    return path.parent, [_tagged(_video(path), tag)] if path.exists() else []


def _below(folder: Path, out: Path) -> Iterator[Clip]:
    for place, listing in folders_below(folder, out):
        videos = (name for name in listing.others if is_video(place / name))
        # The folder itself may hold what was found before; those below it that do are not listed.
        yield from (_video(place / name) for name in videos if name != VIDEO or not made_here(place))
        if listing.images:
            yield _pictures(place, frame_names(place, listing.images))


def _of_manifest(manifest: Manifest) -> Iterator[Clip]:
    """Yield a clip for each video file or folder of pictures; the shots of one video file are one clip."""
    source = frame_source(manifest)
    together: Mapping[str, list[Shot]] = defaultdict(list)
    for shot in manifest.shots:
        together[shot.folder].append(shot)
    for folder, shots in together.items():
        place = manifest.root / folder
        frames = tuple(dict.fromkeys(name for shot in shots for name in shot.frames))
        lengths = tuple(map(len, shots))
        if isinstance(source, VideoFrames):
            own, folder = rooted(source, place.parent), place.name
        else:
            own, folder = rooted(source, place), "."
        yield Clip(place, own, Shot("new", shots[0].tag, "new", "test", folder, frames), lengths=lengths)


def _video(path: Path) -> Clip:
    return Clip(path, VideoFrames(path.parent), Shot("new", "", "new", "test", path.name, ()))


def _pictures(folder: Path, names: Sequence[str], path: Path | None = None) -> Clip:
    source = ImageFrames(folder, depth=data_depth(folder, names))
    return Clip(path or folder, source, Shot("new", "", "new", "test", ".", tuple(names)))


def _tagged(clip: Clip, tag: str) -> Clip:
    return replace(clip, shot=replace(clip.shot, tag=tag))


def _named(clips: Sequence[Clip], root: Path) -> tuple[Clip, ...]:
    """Return the clips with names, from their paths below the folder that all have in common."""
    labels = [_absolute(clip.path).relative_to(root).as_posix() for clip in clips]
    own = root.name or "pictures"
    while own in labels:
        own += "."
    names = file_names([own if label == "." else label for label in labels], SUFFIX)
    return tuple(
        replace(
            clip,
            name=names[own if label == "." else label],
            above=label.rpartition("/")[0] if clip.moving else label.removeprefix("."),
        )
        for clip, label in zip(clips, labels, strict=True)
    )


def _absolute(path: Path) -> Path:
    # Without "..", which would lead out of OUT.
    return Path(os.path.normpath(path.absolute()))
