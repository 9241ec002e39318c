"""Inference with a trained run: frozen classifier and decoder turn frames into maps and boxes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
import torch

from tcam_cache.cams import CamExtractor, ScaledCams, require_cells, sides_of
from tcam_cache.cams.extractor import PREDICTION, Targets, checked_targets
from tcam_cache.config import TrainConfig
from tcam_cache.config.build import parse_scales
from tcam_cache.config.evaluate import MAP_SIZE, fixed_threshold
from tcam_cache.datasets.batches import (
    FrameBatch,
    ShotFrame,
    in_batches,
    load_batches,
    only_readable,
)
from tcam_cache.datasets.frames import squashed
from tcam_cache.datasets.manifest_file import CLASSIFIER_NAME
from tcam_cache.devices import as_images, find_device, frames_at_once, resize_maps
from tcam_cache.errors import ConfigError, FrameError, RunError, near_names
from tcam_cache.inference.maps import FrameMap, box_of, frame_maps, mixed_maps
from tcam_cache.inference.networks import moved_with, new_networks
from tcam_cache.models import (
    Classifier,
    ClassifierFile,
    Decoder,
    Presence,
    read_classifier_file,
)
from tcam_cache.records import Box, FrameSource
from tcam_cache.training import RunFolder

THRESHOLD_NAME = "threshold.json"
BEST = "best"


class Located(NamedTuple):
    """The maps of a batch of frames, from one forward pass.

    Attributes:
        scores: (B, h, w) float32 in [0, 1], the map that boxes are taken from, as `mix` says.
        decoder: (B, h, w) float32 in [0, 1], the decoder's foreground probability S1.
        cam: (B, h, w) float32 in [0, 1], the CAM that is mixed in; None where nothing is mixed.
        logits: (B, C) float32.
        presence: (B, C) float32 in [0, 1], whether the object of each class is there; None where the
            classifier was fitted without.
    """

    scores: torch.Tensor
    decoder: torch.Tensor
    cam: torch.Tensor | None
    logits: torch.Tensor
    presence: torch.Tensor | None = None


class Localization(NamedTuple):
    """The localization of one frame by a run.

    Attributes:
        map: (H, W) float32 in [0, 1] at the frame's size: the foreground probability S1, or its mean with the
            CAM of the tag.
        box: of the largest region above tau x the map's maximum, in pixels of the frame; None without one.
        tag: the class of the highest logit.
        logits: (C,) float32, in the classifier's order of classes.
        presence: how sure it is that the object of `tag` is in the frame, in [0, 1]; None where the run does
            not tell.
    """

    map: np.ndarray
    box: Box | None
    tag: str
    logits: np.ndarray
    presence: float | None = None


@dataclass(frozen=True)
class Localizer:
    """A trained run: turns frames into foreground maps, boxes and logits.

    Attributes:
        classifier: frozen; the checkpoint best at classification, whose features the decoder reads.
        decoder: predicts the foreground map.
        extractor: makes the CAM of a forward pass.
        config: settings of the training, with the present path of its cache.
        classifier_file: g.pt, as stored in the run.
        threshold: the tau chosen on the validation split for this checkpoint, and how; or None.
        inputs: digests of the training data, as stored in the run.
        presence: tells whether the object of a class is there; None where none was fitted.
    """

    classifier: Classifier
    decoder: Decoder
    extractor: CamExtractor | ScaledCams
    config: TrainConfig
    classifier_file: ClassifierFile
    threshold: dict[str, Any] | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    presence: Presence | None = None

    @classmethod
    def open(cls, run: Path | str, device: torch.device | str = "auto") -> Self:
        """Open a run folder at its best checkpoint, ready for inference.

        Args:
            run: the folder that `tcam-cache train` wrote.
            device: of the networks; "auto" takes CUDA, then MPS, then the CPU.

        Raises:
            DeviceError: there is no such device here.
            RunError: there is no run, it has no finished epoch, or its files do not belong together.
        """
        if isinstance(device, str):
            device = find_device(device)
        folder = RunFolder.open(Path(run))
        config = moved_with(folder.path, TrainConfig.from_json(folder.config()))
        file = read_classifier_file(folder.path / CLASSIFIER_NAME)
        inputs = folder.inputs()
        networks = new_networks(file, config, inputs.get("cache", {}), device)
        best = folder.load(BEST)
        try:
            networks[1].load_state_dict(best["model"])
        except (KeyError, RuntimeError) as error:
            raise RunError(
                f"{run}/{BEST}.pt is no decoder on the encoder in {CLASSIFIER_NAME}: the files of two runs "
                "were mixed. Restore them, or train anew in another folder."
            ) from error
        networks[1].eval().requires_grad_(False)
        threshold = _threshold(folder.path / THRESHOLD_NAME, best.get("epoch"))
        return cls(*networks, config, file, threshold, inputs, file.presences())

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.classifier.mean.device

    @property
    def tau(self) -> float:
        """The threshold for boxes: the run's own, or 0.5 if it has none."""
        return float(self.threshold["value"]) if self.threshold else 0.5

    @property
    def side(self) -> int:
        """The side in pixels of the frames that `locate` takes."""
        own = self.config.image_size
        return max(own, *self.extractor.sides) if isinstance(self.extractor, ScaledCams) else own

    def at_once(self, batch_size: int) -> int:
        """Return how many frames of a batch pass the networks together."""
        is_scaled = isinstance(self.extractor, ScaledCams)
        return frames_at_once(batch_size, self.device) if is_scaled else batch_size

    def mixing(self, mix: str | None = None, scales: str = "1") -> Self:
        """Return the run with its maps mixed in another way, without a tau; None and "1" change nothing.

        Args:
            mix: "none", "mean" or "geometric"; None: as it was trained.
            scales: the CAM is the mean over these sizes of a frame, by commas, times the run's.

        Raises:
            ConfigError: the scales make no maps, or nothing is mixed in.
        """
        sides = sides_of(parse_scales(scales), self.config.image_size)
        base, mix = self.config.image_size, mix or self.config.mix
        changed = self
        if mix != self.config.mix:
            changed = replace(self, config=replace(self.config, mix=mix), threshold=None)
        if sides == (base,):
            return changed
        if mix == "none":
            raise ConfigError(f"--scales {scales} is of a CAM that is mixed in. Give --mix geometric, too.")
        one = self.extractor.extractor if isinstance(self.extractor, ScaledCams) else self.extractor
        require_cells(one, sides, base)
        averaged = ScaledCams(one, sides, False, base)
        return replace(changed, extractor=averaged, threshold=None)

    def require_tags(self, tags: Iterable[str]) -> None:
        """Make sure that the run knows the tags that are given for frames.

        Raises:
            ConfigError: it does not know some; all are named.
        """
        known = self.classifier.classes
        unknown = [tag for tag in dict.fromkeys(tags) if tag not in known]
        if unknown:
            near = "".join(near_names(tag, known) for tag in unknown[:1])
            raise ConfigError(
                f"the run does not know the tag {', '.join(map(repr, unknown))}. {near}It knows "
                f"{', '.join(known)}: give one of them, or no tag."
            )

    def foreground(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the decoder's foreground probability S1 (B, h, w) of images, and the (B, C) logits.

        Args:
            images: (B, 3, S, S) RGB in [0, 1], of the size the decoder was trained at.
        """
        features, logits = self.classifier.features_and_logits(images)
        return self._decoded(features, images), logits

    def _decoded(self, features: Sequence[torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        return self.decoder(features, images).float().softmax(1)[:, 1]

    def _present(self, deepest: torch.Tensor) -> torch.Tensor | None:
        return None if self.presence is None else self.presence.of(deepest)

    def locate(self, images: torch.Tensor, targets: Targets = PREDICTION) -> Located:
        """Return the maps of images and what they are made of, as the run's `mix` says.

        Args:
            images: (B, 3, S, S) RGB in [0, 1], S the run's `side`.
            targets: the classes whose CAMs are mixed in, as `CamExtractor` takes them.
        """
        return self.located(images, checked_targets(targets, len(images), self.classifier.classes))

    def located(self, images: torch.Tensor, targets: str | torch.Tensor) -> Located:
        """Return what `locate` does, of targets that `checked_targets` returned; nothing looks at values."""
        if self.config.mix == "none":
            features, deepest = self.classifier.stages(self.classifier.standardised(images))
            decoded = self._decoded(features, images)
            return Located(decoded, decoded, None, self.classifier.logits(deepest), self._present(deepest))
        features, deepest, cams, logits = self.extractor.with_features(images, targets)
        if isinstance(self.extractor, ScaledCams):
            images = self.extractor.at_base(images)
        decoded = self._decoded(features, images)
        cam = resize_maps(cams.maps, (decoded.shape[-2], decoded.shape[-1]))
        mixed = mixed_maps(decoded, cam, self.config.mix, self.config.mix_share)
        # A flat CAM says nothing of where the object is: the decoder's map stands alone.
        scores = torch.where(cams.flat[:, None, None], decoded, mixed)
        return Located(scores, decoded, cam, logits, self._present(deepest))

    def maps(
        self,
        frames: Sequence[ShotFrame],
        source: FrameSource,
        *,
        map_size: int = MAP_SIZE,
        batch_size: int,
        workers: int,
        tagged: bool = False,
    ) -> Iterator[FrameMap]:
        """Yield the map of each frame, in order: the foreground probability S1 (paper, Sec. 3), or a mix.

        Args:
            frames: squashed to the size that the decoder was trained at.
            source: reads them.
            map_size: side of the maps.
            batch_size: frames per forward pass.
            workers: processes that decode; 0 decodes in this one.
            tagged: mix the CAM of each shot's tag in, which is known, not that of the predicted class.

        Raises:
            FrameError: frames cannot be read; all are named, after the last of those that can.
        """
        batches = load_batches(in_batches(frames, self.at_once(batch_size)), source, self.side, workers)
        for batch in only_readable(batches):
            yield from self.batch_maps(batch, map_size, tagged)

    def batch_maps(
        self, batch: FrameBatch, map_size: int = MAP_SIZE, tagged: bool = False
    ) -> Iterator[FrameMap]:
        """Return the map of each frame of a batch, in order; `maps` explains the arguments."""
        tags = [self.classifier.classes.index(shot.tag) for shot, _ in batch.frames] if tagged else None
        with torch.inference_mode():
            located = self.locate(as_images(batch.rgb, self.device), PREDICTION if tags is None else tags)
            kinds = {"": located.scores}
            if located.cam is not None:
                kinds |= {"decoder": located.decoder, "CAM": located.cam}
            sized = {name: resize_maps(maps, map_size).cpu().numpy() for name, maps in kinds.items()}
        presence = None if located.presence is None else located.presence.cpu().numpy()
        return frame_maps(batch.frames, sized, located.logits.cpu().numpy(), batch.sizes, presence)

    @overload
    def predict(self, frames: np.ndarray, threshold: float | None = None) -> Localization: ...
    @overload
    def predict(
        self, frames: Iterable[np.ndarray], threshold: float | None = None
    ) -> Iterator[Localization]: ...
    def predict(
        self, frames: np.ndarray | Iterable[np.ndarray], threshold: float | None = None
    ) -> Localization | Iterator[Localization]:
        """Find the object in one frame, or lazily in each frame of an iterable.

        Args:
            frames: one (H, W, 3) uint8 RGB array, or an iterable of them.
            threshold: tau in [0, 1); default: the run's own, see `tau`.

        Raises:
            FrameError: an array is not an (H, W, 3) uint8 frame.
        """
        if isinstance(frames, np.ndarray) and frames.ndim == 3:
            return self._predict_one(frames, threshold)
        return (self._predict_one(frame, threshold) for frame in frames)

    def _predict_one(self, frame: np.ndarray, threshold: float | None) -> Localization:
        if not (isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3):
            raise FrameError(f"got {_described(frame)}; expected one frame, (H, W, 3) uint8 RGB. Convert it.")
        if frame.dtype != np.uint8 or not frame.size:
            raise FrameError(f"got {_described(frame)}; expected (H, W, 3) uint8 RGB. Convert it.")
        height, width = frame.shape[:2]
        how = self.classifier.preprocessing.interpolation
        pixels = torch.from_numpy(squashed(frame, self.side, how)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            located = self.locate(as_images(pixels, self.device))
            scores = resize_maps(located.scores, MAP_SIZE).cpu().numpy()[0]
            full = resize_maps(located.scores, (height, width)).cpu().numpy()[0]
        known = located.logits[0].float().cpu().numpy()
        box = box_of(scores, (width, height), self.tau if threshold is None else threshold)
        best = int(known.argmax())
        presence = None if located.presence is None else float(located.presence[0, best])
        return Localization(full, box, self.classifier.classes[best], known, presence)


def _threshold(path: Path, epoch: int | None) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        chosen = json.loads(path.read_text())
        value = fixed_threshold(str(chosen["value"]))
        # A resumed run may have a newer best checkpoint, for which no tau was chosen yet.
        return {**chosen, "value": value} if chosen.get("epoch") == epoch else None
    except (ValueError, TypeError, KeyError, ConfigError) as error:
        raise RunError(
            f"{path} is damaged. Delete it and give --threshold, or train anew in another folder."
        ) from error


def _described(frame: object) -> str:
    if isinstance(frame, np.ndarray):
        return f"an array of shape {frame.shape} and type {frame.dtype}"
    return f"a {type(frame).__name__}"
