"""The folder that `predict` writes: rows as they are found, their settings, and the state to resume from."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from tcam_cache.cells import csv_line, file_names, from_csv_text
from tcam_cache.errors import RunError
from tcam_cache.files import make_folder, storage_errors, write_json, write_text
from tcam_cache.provenance import differences

SETTINGS, ROWS, STAMPS, OVERLAYS = "predict.json", "boxes.csv", "frames.jsonl", "overlays"

Row = Sequence[str | float]


class BoxesFolder:
    """Boxes of one input, written row by row; a context manager that keeps its files open.

    boxes.csv     one row per frame
    frames.jsonl  one line per finished frame: its name, and the stamp of its file
    predict.json  input, run and settings of the boxes

    Attributes:
        path: the folder.
        columns: of boxes.csv; the first is the frame's name.
        stamps: present stamp of each frame's file, by the frame's name, in the order of the input.
        rows: of finished frames whose files have not changed since, by name.
        pictures: unique path below `path` for each frame's overlay.
    """

    def __init__(self, path: Path, columns: Sequence[str], stamps: Mapping[str, str]) -> None:
        self.path, self.columns, self.stamps = path, columns, stamps
        self.rows: dict[str, Row] = {}
        self.pictures = {name: f"{OVERLAYS}/{file}" for name, file in file_names(stamps, ".jpg").items()}
        self._files: list[IO[str]] = []

    @classmethod
    def begin(
        cls,
        path: Path,
        columns: Sequence[str],
        stamps: Mapping[str, str],
        settings: Mapping[str, Any],
        overwrite: bool = False,
    ) -> Self:
        """Start a folder of boxes, or resume the existing one.

        Args:
            path: absent, or holding boxes of the same input, run and settings; other files in it stay.
            columns: of boxes.csv.
            stamps: of each frame's file, by the frame's name, in the order of the input.
            settings: input, run and settings of the boxes, as JSON values.
            overwrite: remove boxes of another input, run or setting.

        Raises:
            RunError: the folder holds other boxes, and `overwrite` is not set.
            StorageError: the file system refuses a write.
        """
        make_folder(path)
        current, stored = json.loads(json.dumps(settings)), _settings_of(path)
        if stored != current and (stored is not None or (path / ROWS).exists()):
            if not overwrite or not _is_own(path / ROWS, columns):
                advice = f"; {ROWS} is not of this program" if overwrite else ", or --overwrite to clear them"
                raise RunError(
                    f"{path} holds boxes of another input, run or setting. Give another --out{advice}.",
                    differences(current, stored or {}),
                )
            _clear(path)
        folder = cls(path, columns, stamps)
        if stored == current:
            folder.rows = _finished(path, stamps)
        write_json(path / SETTINGS, current)
        folder._write_in_order()
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

    def add(self, row: Row) -> None:
        """Write the row of a finished frame at once, so that an interruption does not lose it."""
        name = str(row[0])
        with storage_errors(self.path):
            for file, line in zip(self._files, (csv_line(row), self._stamp_line(name)), strict=True):
                file.write(line)
                file.flush()
        self.rows[name] = row

    def _write_in_order(self) -> None:
        names = [name for name in self.stamps if name in self.rows]
        write_text(
            self.path / ROWS, csv_line(self.columns) + "".join(csv_line(self.rows[name]) for name in names)
        )
        write_text(self.path / STAMPS, "".join(map(self._stamp_line, names)))

    def _stamp_line(self, name: str) -> str:
        return json.dumps([name, self.stamps[name]]) + "\n"


def _settings_of(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads((path / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _finished(path: Path, stamps: Mapping[str, str]) -> dict[str, Row]:
    """Return the rows that are complete in both files and whose frame files have not changed."""
    kept = {name for name, stamp in _stamps(path) if stamps.get(name) == stamp}
    text = "".join(_lines(path / ROWS)[1:])
    rows = ([from_csv_text(cell) for cell in row] for row in csv.reader(io.StringIO(text)) if row)
    return {row[0]: row for row in rows if row[0] in kept}


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


def _is_own(path: Path, columns: Sequence[str]) -> bool:
    """Return whether a table does not exist, or has the header of `predict`."""
    lines = _lines(path)
    return not path.exists() or (bool(lines) and lines[0].startswith(",".join(columns[:2])))


def _clear(path: Path) -> None:
    """Remove only the files of an earlier call: its tables, and the overlays of its frames."""
    names = [name for name, _ in _stamps(path) if ".." not in name.split("/") and not name.startswith("/")]
    pictures = [path / OVERLAYS / file for file in file_names(names, ".jpg").values()]
    with storage_errors(path):
        for file in (*pictures, path / ROWS, path / STAMPS, path / SETTINGS):
            file.unlink(missing_ok=True)
        for folder in sorted({file.parent for file in pictures}, reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
