"""The manifest on disk: JSON lines, one header, then one line a shot."""

import json
from pathlib import Path
from typing import Any

from tcam_cache.datasets.box_units import is_share, parsed_box
from tcam_cache.datasets.listing import refuse_links_out
from tcam_cache.datasets.manifest import Manifest
from tcam_cache.errors import ManifestError
from tcam_cache.files import write_text
from tcam_cache.records import AttachmentSource, Shot

FORMAT = "tcam-cache-manifest"
VERSION = 1
# The fact that records that links out of the root were allowed when the data set was indexed.
FOLLOW_LINKS = "follow_links"
_TEXTS = ("id", "class", "video", "split", "folder")


def manifest_text(manifest: Manifest) -> str:
    """Return a manifest as JSON lines: a header, then one line per shot."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "root": str(Path(manifest.root).absolute()),
        "layout": manifest.layout,
        "classes": manifest.classes,
        "shots": len(manifest.shots),
        **({"facts": dict(manifest.facts)} if manifest.facts else {}),
    }
    lines = (json.dumps(value, ensure_ascii=False) for value in (header, *map(_shot_line, manifest.shots)))
    return "\n".join(lines) + "\n"


def write_manifest(manifest: Manifest, path: Path | str) -> None:
    """Write a manifest as JSON lines, atomically.

    Raises:
        StorageError: the file system refuses the write.
    """
    write_text(path, manifest_text(manifest))


def read_manifest(path: Path | str, root: Path | str | None = None) -> Manifest:
    """Read a manifest that `write_manifest` wrote.

    Args:
        path: the manifest.
        root: the data set's folder now, if it differs from the manifest's.

    Raises:
        ManifestError: the file is not a manifest, is of a newer version, has broken lines (all are listed),
            contradicts itself, has paths outside its root, or its root does not exist.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ManifestError(f"cannot read the manifest {path}: {error.strerror}.") from error
    return parse_manifest(data, str(path), root)


def parse_manifest(data: bytes, source: str, root: Path | str | None = None) -> Manifest:
    """Parse the content of a manifest, such as the copy that a cache keeps; `source` is named in errors.

    Raises:
        ManifestError: as `read_manifest` does.
    """
    first, *rest = _lines(data, source)
    header = _header(source, first)
    shots, broken = [], []
    for number, line in enumerate(rest, start=2):
        try:
            shots.append(_shot(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            broken.append(f"line {number}: {_reason(error)}")
    if not broken and len(shots) != header.get("shots", len(shots)):
        broken.append(f"the file ends after {len(shots)} of {header['shots']} shots")
    boxes = [box for shot in shots for frame_boxes in shot.boxes.values() for box in frame_boxes]
    if boxes and all(map(is_share, boxes)):
        broken.append(
            f"all {len(boxes)} boxes are smaller than a pixel, shares of the picture; expected pixels"
        )
    if broken:
        raise ManifestError(f"{source} has {len(broken)} broken line(s). Write the manifest again.", broken)
    manifest = Manifest(
        root=_existing_root(source, header, root),
        layout=str(header["layout"]),
        classes=tuple(header["classes"]),
        shots=tuple(shots),
        facts=dict(header.get("facts", {})),
    )
    if not manifest.facts.get(FOLLOW_LINKS):
        refuse_links_out(manifest.root, manifest.shots)
    return manifest


def _shot_line(shot: Shot) -> dict[str, Any]:
    return {
        "id": shot.id,
        "class": shot.tag,
        "video": shot.video,
        "split": shot.split,
        "folder": shot.folder,
        "frames": shot.frames,
        "boxes": {str(t): shot.boxes[t] for t in sorted(shot.boxes)},
    }


def _lines(data: bytes, source: str) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{source} is not a manifest: it is not text.") from error
    # Not splitlines: a file name may contain one of the rarer line separators.
    return text.replace("\r\n", "\n").rstrip("\n").split("\n")


def _header(source: str, line: str) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ManifestError(
            f"{source} is not a manifest: line 1 is no header of the format {FORMAT!r}. "
            "Write one with `tcam-cache manifest`."
        )
    version, classes = header.get("version"), header.get("classes")
    if not isinstance(version, int) or version > VERSION:
        raise ManifestError(
            f"{source} has manifest version {version!r}; this program reads up to {VERSION}. "
            "Update it, or write the manifest again."
        )
    if not isinstance(classes, list) or not all(isinstance(tag, str) for tag in classes):
        raise ManifestError(f"{source}: line 1 lists no classes. Write the manifest again.")
    if not isinstance(header.get("facts", {}), dict):
        raise ManifestError(f"{source}: the facts in line 1 are no object. Write the manifest again.")
    missing = sorted({"root", "layout"} - header.keys())
    if missing:
        raise ManifestError(f"{source}: line 1 has no {' and no '.join(missing)}. Write the manifest again.")
    return header


def _existing_root(source: str, header: dict[str, Any], root: Path | str | None) -> Path:
    folder = Path(header["root"] if root is None else root)
    if not folder.is_dir():
        which = f"the root in {source}" if root is None else "the given root"
        raise ManifestError(
            f"{which} is {folder}, and no such folder exists. Say where it lies with `--root`."
        )
    return folder


def _shot(values: dict[str, Any]) -> Shot:
    shot_id, tag, video, split, folder = (values[key] for key in _TEXTS)
    frames = values["frames"]
    # One pass in C over the types, for speed with half a million names.
    if not isinstance(frames, list) or not set(map(type, (*frames, shot_id, tag, video, split, folder))) <= {
        str
    }:
        raise TypeError("expected texts in id, class, video, split and folder, and a list of texts in frames")
    boxes = {_position(t): tuple(map(parsed_box, frame_boxes)) for t, frame_boxes in values["boxes"].items()}
    if not all(boxes.values()):
        raise ValueError("a frame has an empty list of boxes")
    return Shot(shot_id, tag, video, split, folder, tuple(frames), boxes)


def _position(text: str) -> int:
    if not (text.isdecimal() and text == str(int(text))):
        raise ValueError(f"boxes for the frame {text!r}, which is no position")
    return int(text)


def _reason(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)


CLASSIFIER_NAME = "classifier.pt"
MANIFEST_NAME = "manifest.jsonl"


def attached_manifest(cache: AttachmentSource, root: Path | None = None) -> Manifest:
    """Return the manifest that a cache was built from, sampled as it was.

    Args:
        cache: any cache.
        root: the data set's folder now, if it differs from the manifest's.

    Raises:
        CacheError: the cache has no manifest.
        ManifestError: the data set's folder does not exist.
    """
    return parse_manifest(cache.attachment(MANIFEST_NAME), f"{cache.path}/{MANIFEST_NAME}", root)


def frame_names(cache: AttachmentSource, shot_id: str) -> tuple[str, ...]:
    """Return the file names of a shot's frames from a cache; the data set itself need not exist."""
    return attached_manifest(cache, Path.cwd()).shot(shot_id).frames
