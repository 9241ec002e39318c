"""The folder that `predict` writes for a clip: rows as they are found, and the state to resume from."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from tcam_cache.cells import file_names
from tcam_cache.datasets.boxes_table import KEYS, ROWS, FoundBox, found_boxes, found_line, header
from tcam_cache.datasets.tables import column_names
from tcam_cache.errors import RunError
from tcam_cache.files import atomic_file, make_folder, storage_errors, write_json, write_text
from tcam_cache.provenance import differences

SETTINGS, STAMPS, OVERLAYS, FILES = "predict.json", "frames.jsonl", "overlays", "files.json"
# The rows as found, where boxes.csv has them completed.
FOUND = "found.csv"


class BoxesFolder:
    """Boxes of one input, written row by row; a context manager that keeps its files open.

    boxes.csv     one row per frame
    found.csv     the rows as found, where `complete` changed those of boxes.csv
    frames.jsonl  one line per finished frame: its name, and the stamp of its file; after the last frame of a
                  video one more, without a name
    predict.json  input, run and settings of the boxes
    files.json    the files in other formats, which `keep` writes

    Attributes:
        path: the folder.
        stamps: present stamp of each frame's file, by the frame's name, in the order of the input; or that of
            the one video file, whose frames are known when it was decoded.
        rows: of finished frames whose files have not changed since, by name; those of pictures that an
            earlier version wrote have no size.
        finished: whether every frame of the video was seen.
    """

    def __init__(self, path: Path, stamps: Mapping[str, str] | str) -> None:
        self.path, self.stamps, self.finished = path, stamps, False
        self.rows: dict[str, FoundBox] = {}
        names = () if isinstance(stamps, str) else stamps
        self._pictures = file_names(names, ".jpg")
        self._files: list[IO[str]] = []

    @classmethod
    def begin(
        cls,
        path: Path,
        stamps: Mapping[str, str] | str,
        settings: Mapping[str, Any],
        overwrite: bool = False,
    ) -> Self:
        """Start a folder of boxes, or resume the existing one.

        Args:
            path: absent, or holding boxes of the same input, run and settings; other files in it stay.
            stamps: see above.
            settings: input, run and settings of the boxes, as JSON values.
            overwrite: remove boxes of another input, run or setting.

        Raises:
            RunError: the folder holds other boxes, and `overwrite` is not set.
            StorageError: the file system refuses a write.
        """
        make_folder(path)
        current, stored = json.loads(json.dumps(settings)), _settings_of(path)
        if stored != current and (stored is not None or (path / ROWS).exists()):
            if not overwrite or not _is_own(path / ROWS):
                advice = f"; {ROWS} is not of this program" if overwrite else ", or --overwrite to clear them"
                raise RunError(
                    f"{path} holds boxes of another input, run or setting. Give another --out{advice}.",
                    differences(current, stored or {}),
                )
            _clear(path)
        folder = cls(path, stamps)
        if stored == current:
            folder._take_over(list(_stamps(path)))
        write_json(path / SETTINGS, current)
        folder._write_in_order()
        _remove(path, [FOUND])
        return folder

    def __enter__(self) -> Self:
        with storage_errors(self.path):
            for name in (ROWS, STAMPS):
                self._files.append((self.path / name).open("a", encoding="utf-8", newline=""))
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
        self._files.clear()
        self._write_in_order()

    def add(self, row: FoundBox) -> None:
        """Write the row of a finished frame at once, so that an interruption does not lose it."""
        with storage_errors(self.path):
            lines = found_line(row), self._stamp_line(row.frame)
            for file, line in zip(self._files, lines, strict=True):
                file.write(line)
                file.flush()
        self.rows[row.frame] = row

    def picture(self, name: str) -> Path:
        """Return the path of a frame's overlay."""
        return self.path / OVERLAYS / self._pictures.get(name, f"{name}.jpg")

    def complete(self, rows: Sequence[FoundBox]) -> None:
        """Write boxes.csv with completed rows; those as found are kept, to resume from."""
        text, stored_text = header() + "".join(map(found_line, rows)), "".join(_lines(self.path / ROWS))
        if text != stored_text:
            write_text(self.path / FOUND, stored_text)
            write_text(self.path / ROWS, text)

    def found(self) -> list[FoundBox]:
        """Return the frames in boxes.csv, in order, with the numbers as they are written there."""
        return list(found_rows(self.path))

    def keep(self, files: Mapping[str, str | None]) -> None:
        """Write files in other formats, and remove those of an earlier call that are not among them.

        Args:
            files: the text by the path below the folder; None for one that is written already.
        """
        for old in set(_files_of(self.path)) - set(files):
            _remove(self.path, [old])
        if files or (self.path / FILES).exists():
            write_json(self.path / FILES, sorted(files))
        for name, text in files.items():
            if text is not None:
                write_text(self.path / name, text)

    def _take_over(self, stamps: list[tuple[str, str]]) -> None:
        """Take the rows that are complete in both files and whose frame files have not changed."""
        kept = {name for name, stamp in stamps if stamp == self._stamp(name)}
        moving = isinstance(self.stamps, str)
        table = FOUND if (self.path / FOUND).exists() else ROWS
        rows = {row.frame: row for row in found_rows(self.path, table) if row.width or not moving}
        self.rows = {name: row for name, row in rows.items() if name in kept}
        self.finished = moving and "" in kept and kept - {""} <= self.rows.keys()

    def _write_in_order(self) -> None:
        if isinstance(self.stamps, str):
            names = sorted(self.rows, key=lambda name: self.rows[name].number)
        else:
            names = [name for name in self.stamps if name in self.rows]
        lines = (found_line(self.rows[name]) for name in names)
        write_text(self.path / ROWS, header() + "".join(lines))
        seen = [*names, ""] if self.finished else names
        write_text(self.path / STAMPS, "".join(map(self._stamp_line, seen)))

    def _stamp(self, name: str) -> str | None:
        return self.stamps if isinstance(self.stamps, str) else self.stamps.get(name)

    def _stamp_line(self, name: str) -> str:
        return json.dumps([name, self._stamp(name)]) + "\n"


def found_rows(path: Path, table: str = ROWS) -> Iterator[FoundBox]:
    """Yield the frames in the boxes.csv of a folder, in order; nothing where there is none."""
    return found_boxes("".join(_lines(path / table)))


def write_table(path: Path, parts: Iterable[tuple[str, Iterable[FoundBox]]], overwrite: bool) -> None:
    """Write one boxes.csv of several clips, in a folder above theirs.

    Args:
        path: the folder.
        parts: for each clip the path of what its rows' paths start from, "" for nothing, and its rows.
        overwrite: replace the boxes of a single input.

    Raises:
        RunError: the folder holds those, and `overwrite` is not set, or a table of another program.
        StorageError: the file system refuses a write.
    """
    refuse_single(path, overwrite)
    with atomic_file(path / ROWS) as file:
        file.write(header().encode())
        for above, rows in parts:
            for row in rows:
                video = "/".join(part for part in (above, row.video) if part)
                file.write(found_line(row._replace(video=video)).encode())


def refuse_single(path: Path, overwrite: bool) -> None:
    """Make sure that a folder for the boxes of several clips does not hold those of a single input.

    Raises:
        RunError: it does, and `overwrite` is not set to clear them, or a table of another program.
    """
    if not _is_own(path / ROWS):
        raise RunError(f"{path / ROWS} is not of this program. Give another --out.")
    if _settings_of(path) is not None:
        if not overwrite:
            raise RunError(
                f"{path} holds boxes of another input, run or setting. Give another --out, or --overwrite "
                "to clear them."
            )
        _clear(path)


def _settings_of(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads((path / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _stamps(path: Path) -> Iterator[tuple[str, str]]:
    for line in _lines(path / STAMPS):
        try:
            name, stamp = json.loads(line)
            yield str(name), str(stamp)
        except (ValueError, TypeError):
            continue


def _lines(path: Path) -> list[str]:
    """Return the complete lines of a file; empty if it does not exist."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    return [line + "\n" for line in text.split("\n")[:-1]]


def _is_own(path: Path) -> bool:
    """Return whether a table does not exist, or has the columns of `predict`, of this version or before."""
    lines = _lines(path)
    return not path.exists() or any(keys <= column_names(lines[0] if lines else "") for keys in KEYS)


def _files_of(path: Path) -> list[str]:
    try:
        names = json.loads((path / FILES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _clear(path: Path) -> None:
    """Remove only the files of an earlier call: its tables, the overlays of its frames, and other formats."""
    pictures = file_names((name for name, _ in _stamps(path) if name and _is_below(name)), ".jpg").values()
    _remove(path, [*_files_of(path), *(f"{OVERLAYS}/{file}" for file in pictures)])
    _remove(path, [ROWS, FOUND, STAMPS, SETTINGS, FILES])


def _is_below(name: str) -> bool:
    return ".." not in name.split("/") and not name.startswith("/")


def _remove(path: Path, names: Sequence[str]) -> None:
    """Remove files below a folder, and the folders that this leaves empty."""
    files = [path / name for name in names if _is_below(name)]
    with storage_errors(path):
        for file in files:
            file.unlink(missing_ok=True)
        above = {folder for file in files for folder in file.parents if path in folder.parents}
        for folder in sorted(above, reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
