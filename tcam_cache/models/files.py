"""g.pt: one file with both checkpoints of a classifier, its architecture and its classes."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from tcam_cache.errors import ConfigError, WeightsError
from tcam_cache.files import write_bytes
from tcam_cache.models.backbone import Preprocessing
from tcam_cache.models.classifier import Classifier
from tcam_cache.models.presence import Presence
from tcam_cache.models.weights import parse_torch_bytes, read_torch_file, weights_hash

FORMAT = "tcam-cache-classifier"
VERSION = 1
CHECKPOINTS: tuple[str, ...] = ("best_classification", "best_localization")


@dataclass(frozen=True)
class ClassifierFile:
    """The content of g.pt.

    Attributes:
        arch: torchvision's name of the backbone, or timm's behind "timm:".
        classes: tags, in the order of the logits.
        output_stride: of the deepest features.
        dilated: whether kernels are dilated where strides were removed.
        checkpoints: "best_classification" (its encoder feeds the decoder, its logits give CL) and
            "best_localization" (its CAMs are cached): state dicts.
        scores: of each checkpoint on the validation split.
        provenance: versions, settings, date.
        preprocessing: of the backbone's frames, where it differs from ImageNet's defaults.
        presence: what `Presence.to_values` gave; empty where none was fitted.
    """

    arch: str
    classes: tuple[str, ...]
    output_stride: int
    dilated: bool
    checkpoints: Mapping[str, Mapping[str, torch.Tensor]]
    scores: Mapping[str, Any]
    provenance: Mapping[str, Any]
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    presence: Mapping[str, Any] = field(default_factory=dict)

    def classifier(self, checkpoint: str) -> Classifier:
        """Return the frozen classifier of one checkpoint.

        Raises:
            WeightsError: there is no such checkpoint, or it does not fit the architecture.
        """
        model = Classifier(
            self.arch, self.classes, self.output_stride, self.dilated, preprocessing=self.frames()
        )
        try:
            model.load_state_dict(dict(self.checkpoints[checkpoint]))
        except (KeyError, RuntimeError) as error:
            raise WeightsError(
                f"the checkpoint {checkpoint!r} is not one of {self.arch}. {_EXPECTED}",
                str(error).splitlines(),
            ) from error
        return model.freeze()

    def frames(self) -> Preprocessing:
        """Return the preprocessing of the backbone's frames."""
        return Preprocessing.from_json(self.preprocessing)

    def presences(self) -> Presence | None:
        """Return what tells whether the object of a tag is in a frame; None where none was fitted.

        Raises:
            WeightsError: it is damaged.
        """
        try:
            return Presence.from_values(self.presence) if self.presence else None
        except (KeyError, TypeError) as error:
            raise WeightsError(
                f"the classifier's presence is damaged: it lacks {error}. {_EXPECTED}"
            ) from error

    def require_classes(self, classes: Iterable[str]) -> None:
        """Make sure that the classifier has all classes of a manifest; it may have more.

        Raises:
            ConfigError: it lacks some; all are named.
        """
        unknown = [name for name in classes if name not in self.classes]
        if unknown:
            raise ConfigError(
                f"the classifier knows {', '.join(self.classes)}, but not these classes of the manifest. "
                "Fit a classifier on this manifest.",
                unknown,
            )

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of each checkpoint's weights."""
        return {name: weights_hash(values) for name, values in self.checkpoints.items()}

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        buffer = io.BytesIO()
        values = {key: value for key, value in vars(self).items() if key not in _LATER or value}
        torch.save({"format": FORMAT, "version": VERSION, **values}, buffer)
        return buffer.getvalue()

    def save(self, path: Path | str) -> None:
        """Write g.pt atomically."""
        write_bytes(path, self.to_bytes())


def read_classifier_file(path: Path | str) -> ClassifierFile:
    """Read g.pt.

    Raises:
        WeightsError: missing, damaged, not a classifier file, or of a newer version.
    """
    return _checked(read_torch_file(path, _EXPECTED), str(path))


def parse_classifier_file(data: bytes, source: str) -> ClassifierFile:
    """Parse the content of g.pt, such as the copy that a cache keeps; `source` is named in errors.

    Raises:
        WeightsError: damaged, not a classifier file, or of a newer version.
    """
    return _checked(parse_torch_bytes(data, source, _EXPECTED), source)


# Entries that files of earlier versions lack: their preprocessing is ImageNet's, and they say no presence.
_LATER = ("preprocessing", "presence")
_EXPECTED = "Expected a classifier file; make one with `tcam-cache classifier`."


def _checked(values: Any, source: str) -> ClassifierFile:
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        raise WeightsError(f"{source} is not a classifier file. {_EXPECTED}")
    version = values.get("version")
    if isinstance(version, int) and version > VERSION:
        raise WeightsError(
            f"{source} is a classifier file of version {version}, newer than version {VERSION} "
            "that is known here. Install a newer tcam-cache."
        )
    known = [spec.name for spec in fields(ClassifierFile)]
    missing = [name for name in known if name not in values and name not in _LATER]
    if missing or version != VERSION:
        raise WeightsError(f"{source} is a damaged classifier file, it lacks entries. {_EXPECTED}", missing)
    return ClassifierFile(**{name: values[name] for name in known if name in values})
