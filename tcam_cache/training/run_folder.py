"""RUN: the folder of a fit: settings, log and checkpoints, consistent at any moment."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tcam_cache.config import FitConfig
from tcam_cache.config.base import without_removed
from tcam_cache.config.train import FREE_ON_RESUME
from tcam_cache.datasets import Manifest
from tcam_cache.errors import ConfigError, RunError
from tcam_cache.files import make_folder, write_bytes, write_json
from tcam_cache.names import left_behind
from tcam_cache.provenance import differences, sha256_of

# Of all scores in the log, the one of which less is better.
VAL_LOSS = "val_loss"


class RunFolder:
    """The files of a fit: `config.json`, `log.jsonl`, `last.pt` and one checkpoint per selection.

    Args:
        path: the folder.
        writes: whether this process writes files; of several ranks only rank 0 does.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self.writes = Path(path), writes

    @classmethod
    def begin(
        cls, path: Path, config: Mapping[str, Any], resume: bool, inputs: Mapping[str, Any] | None = None
    ) -> "RunFolder":
        """Start a run in an empty or absent folder, or resume the existing one.

        Args:
            path: the folder.
            config: the run's settings.
            resume: whether to resume a run.
            inputs: digests of the training data, as JSON values; they must be equal on resume.

        Raises:
            RunError: the folder holds a run and `resume` is not set, holds other files, holds no run to
                resume, or one with other settings (named) or with settings that were removed.
        """
        run = cls(path)
        if run.path.is_file():
            raise RunError(f"{path} is a file. Give a folder.")
        if run._file("config.json").is_file():
            run._check_resumable({**config, "inputs": dict(inputs or {})}, resume)
        elif run.path.is_dir() and not all(left_behind(file.name) for file in run.path.iterdir()):
            raise RunError(f"{path} holds something that is not a run. Give an empty or new folder.")
        elif resume:
            raise RunError(f"there is no run in {path} to resume. Leave out --resume to start one.")
        make_folder(run.path)
        write_json(run._file("config.json"), {**config, "inputs": dict(inputs or {})})
        return run

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open an existing run.

        Raises:
            RunError: there is none.
        """
        run = cls(path)
        if run.path.is_file():
            raise RunError(f"{path} is a file; expected the folder of a run. Give {run.path.parent}.")
        if not run._file("config.json").is_file():
            raise RunError(f"there is no run in {path}. Make one with `tcam-cache train --out {path}`.")
        return run

    def config(self) -> dict[str, Any]:
        """Return the settings the run was started with.

        Raises:
            RunError: they cannot be read, or settings that were removed are on.
        """
        return {key: value for key, value in self._stored().items() if key != "inputs"}

    def inputs(self) -> dict[str, Any]:
        """Return the digests of the training data; empty for a run of an earlier version.

        Raises:
            RunError: it cannot be read.
        """
        return self._parsed("config.json", _json_object).get("inputs") or {}

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write `name`.pt atomically."""
        if not self.writes:
            return
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        self.write(f"{name}.pt", buffer.getvalue())

    def load(self, name: str) -> dict[str, Any]:
        """Read `name`.pt.

        Raises:
            RunError: the run has no such checkpoint yet, or a damaged one.
        """
        if not self.has(name):
            raise RunError(f"{self.path} has no {name}.pt: no epoch was finished. Run train again.")
        try:
            return torch.load(self._file(f"{name}.pt"), map_location="cpu", weights_only=True)
        except Exception as error:  # A damaged pickle can raise any exception.
            raise self._damaged(f"{name}.pt") from error

    def has(self, name: str) -> bool:
        """Return whether `name`.pt exists."""
        return self._file(f"{name}.pt").is_file()

    def log(self) -> list[dict[str, Any]]:
        """Return the log, one mapping per epoch.

        Raises:
            RunError: it cannot be read.
        """
        return self._parsed("log.jsonl", _json_lines) if self._file("log.jsonl").is_file() else []

    def write_log(self, lines: list[dict[str, Any]]) -> None:
        """Write the whole log, so that it always agrees with `last.pt`."""
        self.write("log.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        if self.writes:
            write_bytes(self._file(name), content)

    def _file(self, name: str) -> Path:
        return self.path / name

    def _stored(self) -> dict[str, Any]:
        try:
            return without_removed(self._parsed("config.json", _json_object))
        except ConfigError as error:
            raise RunError(f"{self._file('config.json')}: {error.message}", error.offenders) from error

    def _parsed(self, name: str, parse: Callable[[str], Any]) -> Any:
        try:
            return parse(self._file(name).read_text())
        except ValueError as error:
            raise self._damaged(name) from error

    def _damaged(self, name: str) -> RunError:
        return RunError(f"{self._file(name)} is damaged. Restore it, or train anew in another folder.")

    def _check_resumable(self, config: Mapping[str, Any], resume: bool) -> None:
        if not resume:
            raise RunError(f"{self.path} already holds a run. Add --resume to go on, or give another folder.")
        then = {key: value for key, value in self._stored().items() if key not in FREE_ON_RESUME}
        now = {key: value for key, value in config.items() if key not in FREE_ON_RESUME}
        changed = differences(now, then)
        if changed:
            raise RunError(
                f"the run in {self.path} was started with other settings. Give those, or another folder.",
                changed,
            )


def _json_object(text: str) -> dict[str, Any]:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"expected settings by name, got a {type(values).__name__}")
    return values


def _json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def split_hashes(manifest: Manifest, config: FitConfig) -> dict[str, str]:
    """Return digests of the training and validation shots, compared when a fit is resumed."""
    splits = {"train": config.train_split, "val": config.val_split}
    return {name: sha256_of([shot.id for shot in manifest.split(split)]) for name, split in splits.items()}
