"""From tagged footage to a box in every frame: every stage in turn, with what suits few real videos."""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tcam_cache.building.plan import Plan, plan_of
from tcam_cache.building.turns import is_trained, is_whole_cache, wait_for
from tcam_cache.config import (
    BuildConfig,
    ClassifierConfig,
    EvaluateConfig,
    LocateConfig,
    ManifestConfig,
    PredictConfig,
    TrainConfig,
)
from tcam_cache.config.locate import MANIFEST_SUFFIX
from tcam_cache.datasets import Manifest, read_manifest, with_splits, write_manifest
from tcam_cache.datasets.listing import state_of
from tcam_cache.errors import AnnotationError, ConfigError, ManifestError, RunError
from tcam_cache.files import make_folder, write_json
from tcam_cache.models import read_classifier_file
from tcam_cache.provenance import differences
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.classifier import fit_classifier, fit_folder, require_classes
from tcam_cache.stages.evaluate import EvaluateReport, evaluate
from tcam_cache.stages.manifest import index_dataset
from tcam_cache.stages.predict import PredictReport, predict
from tcam_cache.stages.train import train_decoder

logger = logging.getLogger(__name__)

STATE, MANIFEST, ANNOTATED = "locate.json", "manifest.jsonl", "annotated.jsonl"
CLASSIFIER, CACHE, RUN, BOXES, SCORES = "g.pt", "cache", "run", "boxes", "scores"
# The fact of the annotated manifest that says which file its boxes are of.
BOXES_FACT = "boxes"
# The checkpoint whose features the decoder reads.
SCORED = "best_classification"


@dataclass(frozen=True)
class LocateReport:
    """The result of `locate`.

    Attributes:
        out: the folder.
        plan: what was to be computed, and how long it was thought to take.
        tags: classes of the footage.
        videos: number of videos.
        tags_right: percentage of frames of left-out videos whose tag the classifier told; None where no video
            could be left out, or of a classifier that was fitted in another way.
        boxes: the result of the last stage; None in a dry run.
        scores: against true boxes; None without them.
        seconds: taken by this call.
    """

    out: str
    plan: Plan
    tags: tuple[str, ...]
    videos: int
    tags_right: float | None
    boxes: PredictReport | None
    scores: EvaluateReport | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {
            "out": self.out,
            "plan": asdict(self.plan),
            "tags": self.tags,
            "videos": self.videos,
            "tags_right": self.tags_right,
            "boxes": self.boxes.to_json() if self.boxes else None,
            "scores": self.scores.to_json() if self.scores else None,
            "seconds": round(self.seconds, 1),
        }

    def to_text(self) -> str:
        """Return the report as a few lines."""
        if self.boxes is None:
            return f"{self.plan.to_text()}\nnothing was written (--dry-run)"
        lines = [self.boxes.to_text(), f"  {self.videos} videos of {len(self.tags)} tags"]
        if self.tags_right is not None:
            lines.append(
                f"  tags of frames in videos that were left out of the fit: {self.tags_right:.0f} % right "
                f"(by chance {100 / len(self.tags):.0f})"
            )
        if self.scores:
            policy = self.scores.metrics.policies[self.scores.metrics.threshold["policy"]]
            lines.append(
                f"  against true boxes: CorLoc {policy['corloc']:.1f}, mean IoU {policy['mean_iou']:.3f}; "
                f"{self.scores.report}/index.html"
            )
        return "\n".join([*lines, f"{self.seconds / 60:.1f} minutes in all"])


def locate(config: LocateConfig) -> LocateReport:
    """Fit classifier and decoder on tagged footage, and find the object in every frame of it.

    Every video is learned from; boxes are those of the video's tag. Each stage's product lies in `out`, and
    the same call goes on where another was interrupted. Several machines with one `out` are each given a
    shard: they share out `build` and `predict`; the first one does the rest, and others wait for it.

    Raises:
        ConfigError: `out` is the footage, or lies in it.
        AnnotationError: there are no such boxes, or they do not fit the frames.
        ManifestError: no layout fits the footage, nothing of it can be read, or it has a single tag.
        RunError: `out` holds boxes of other footage or settings, or something else; or what other shards make
            is not there in time.
        FrameError: frames cannot be read; the boxes of all others are there.
    """
    began = time.perf_counter()
    _require_apart(config)
    if config.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            manifest, _ = _indexed(replace(config, out=Path(folder)))
        plan = _plan(config, manifest)
        return _report(config, plan, manifest, {}, None, None, began)
    if not config.is_first:
        _await(config, (config.out / MANIFEST).is_file, "the list of frames")
    _begin(config)
    manifest, annotated = _indexed(config)
    if config.video and manifest.layout != "videos":
        raise ConfigError(f"{config.source} holds frames: --video writes clips again. Leave it out.")
    plan = _plan(config, manifest)
    logger.info("%s", plan.to_text())
    fitted = _fitted(config)
    _built(config, plan)
    _trained(config, manifest)
    boxes = _predicted(config)
    scores = _scored(config) if annotated and config.is_first else None
    return _report(config, plan, manifest, fitted, boxes, scores, began)


def _report(
    config: LocateConfig,
    plan: Plan,
    manifest: Manifest,
    fitted: Mapping[str, Any],
    boxes: PredictReport | None,
    scores: EvaluateReport | None,
    began: float,
) -> LocateReport:
    right = fitted.get("left_out_accuracy")
    videos = len({shot.video for shot in manifest.shots})
    seconds = time.perf_counter() - began
    return LocateReport(str(config.out), plan, manifest.classes, videos, right, boxes, scores, seconds)


def _require_apart(config: LocateConfig) -> None:
    footage, out = config.source.resolve(), config.out.resolve()
    if out == footage or footage in out.parents:
        raise ConfigError(
            f"{config.out} is the footage, or lies in it, and would become part of it. Give another --out."
        )
    if not config.source.exists():
        raise ManifestError(f"there is no {config.source}. Give the folder that holds a folder for each tag.")
    if config.annotations and not config.annotations.exists():
        raise AnnotationError(f"there is no {config.annotations}. Give a file of boxes, or leave it out.")


def _settings(config: LocateConfig) -> dict[str, Any]:
    """Return what the products of the stages depend on, as JSON values."""
    kept = ("source", "layout", "effort", "every", "seed", "classifier", "build", "train")
    stored = config.to_json(absolute=True)
    return {**{name: stored[name] for name in kept}, "files": state_of(config.source)}


def _begin(config: LocateConfig) -> None:
    """Start the folder, or make sure that it holds products of the same footage and settings."""
    path, current = config.out / STATE, _settings(config)
    if path.is_file():
        try:
            changed = differences(current, json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, AttributeError, TypeError):
            changed = [f"{path} is damaged"]
        if changed:
            raise RunError(
                f"{config.out} holds boxes of other footage or settings. Give another --out, or delete it.",
                [
                    line if not line.startswith("files:") else "the files of the footage changed"
                    for line in changed
                ],
            )
        return
    if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise RunError(f"{config.out} holds something else. Give an empty or new folder as --out.")
    make_folder(config.out)
    write_json(path, current)


def _indexed(config: LocateConfig) -> tuple[Manifest, bool]:
    """Return the manifest without boxes that is learned from, and whether one with boxes lies beside it."""
    _log_step("the footage")
    plain, annotated = config.out / MANIFEST, config.out / ANNOTATED
    boxes = state_of(config.annotations) if config.annotations else None
    if plain.is_file():
        known = read_manifest(annotated).facts.get(BOXES_FACT) if annotated.is_file() else None
        if known == boxes or not config.annotations or not config.is_first:
            return read_manifest(plain), annotated.is_file()
    manifest = _read_footage(config)
    has_boxes = any(shot.boxes for shot in manifest.shots)
    if has_boxes:
        # Corrected boxes in the same file are other boxes.
        write_manifest(replace(manifest, facts={**manifest.facts, BOXES_FACT: boxes}), annotated)
    else:
        annotated.unlink(missing_ok=True)
    bare = tuple(replace(shot, boxes={}) for shot in with_splits(manifest.shots, {}))
    manifest = replace(manifest, shots=bare)
    write_manifest(manifest, plain)
    return manifest, has_boxes


def _read_footage(config: LocateConfig) -> Manifest:
    """Return the manifest that is given, or that of the footage, which is decoded whole."""
    if config.source.suffix == MANIFEST_SUFFIX:
        return read_manifest(config.source)
    indexed = index_dataset(
        ManifestConfig(
            source=config.source, layout=config.layout, out=config.out / ANNOTATED,
            annotations=config.annotations, skip_broken=True, split=False, workers=config.workers,
            seed=config.seed, device=config.device,
        )
    )  # fmt: skip
    for text in indexed.left_out:
        logger.warning("left out: %s", text)
    return read_manifest(config.out / ANNOTATED)


def _stage(config: LocateConfig, name: str, **places: Any) -> dict[str, Any]:
    """Return the settings of a stage: the effort's, those given, and where things lie."""
    shared = {"seed": config.seed, "device": config.device, "workers": config.workers}
    return {**config.stage(name), **shared, **places}


def _shares(config: LocateConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("shard", "jobs", "backend", "scheduler")}


def _await(config: LocateConfig, is_there: Callable[[], bool], what: str) -> None:
    wait_for(is_there, what, config.shard, config.wait)


def _plan(config: LocateConfig, manifest: Manifest) -> Plan:
    require_classes(manifest, "all")
    places: dict[str, Any] = {"manifest": config.out / MANIFEST, "out": config.out / "product"}
    inputs = {"run": config.out / RUN, "source": config.source, "out": config.out / BOXES}
    return plan_of(
        manifest,
        config.cached_every(manifest.frame_count, len(manifest.shots)),
        ClassifierConfig(**_stage(config, "classifier", **places)),
        BuildConfig(**_stage(config, "build", classifier=config.out / CLASSIFIER, **places)),
        TrainConfig(**_stage(config, "train", cache=config.out / CACHE, **places)),
        PredictConfig(**_stage(config, "predict", **inputs, **_shares(config))),
        f"effort {config.effort}",
    )


def _fitted(config: LocateConfig) -> Mapping[str, Any]:
    """Fit the classifier if that is not done, and return its scores."""
    _log_step("classifier, on the tags")
    out = config.out / CLASSIFIER
    if not config.is_first:
        _await(config, out.is_file, "the classifier")
    if out.is_file():
        return read_classifier_file(out).scores[SCORED]
    places = {"manifest": config.out / MANIFEST, "out": out, "train_split": "all"}
    resume = _begun(fit_folder(out))
    report = fit_classifier(ClassifierConfig(**_stage(config, "classifier", resume=resume, **places)))
    logger.info("%s", report.to_text())
    return report.best[SCORED]


def _built(config: LocateConfig, plan: Plan) -> None:
    _log_step("CAMs, into the cache")
    places = {
        "manifest": config.out / MANIFEST,
        "classifier": config.out / CLASSIFIER,
        "out": config.out / CACHE,
    }
    # Training draws frames at random, which a video file gives far more slowly than the cache.
    frames = {"frames": True, "frame_size": _train_config(config).resize_size}
    options = {**_shares(config), **frames, **places}
    build_cache(BuildConfig(**_stage(config, "build", every=plan.every, **options)))


def _trained(config: LocateConfig, manifest: Manifest) -> None:
    _log_step("decoder, on pseudo-labels from the CAMs")
    if not config.is_first:
        _await(config, partial(is_trained, config.out / RUN), "the decoder")
        return
    if config.shard:
        _await(config, partial(is_whole_cache, config.out / CACHE, manifest), "their part of the cache")
    train_decoder(_train_config(config))


def _train_config(config: LocateConfig) -> TrainConfig:
    out = config.out / RUN
    places = {
        "manifest": config.out / MANIFEST,
        "cache": config.out / CACHE,
        "out": out,
        "train_split": "all",
    }
    return TrainConfig(**_stage(config, "train", resume=_begun(out), cached_frames=True, **places))


def _predicted(config: LocateConfig) -> PredictReport:
    _log_step("boxes, of every frame")
    places = {"run": config.out / RUN, "source": config.out / MANIFEST, "out": config.out / BOXES}
    shown = {
        name: getattr(config, name) for name in ("threshold", "format", "overlays", "video", "map", "embed")
    }
    options = {**_shares(config), **shown, **places}
    return predict(PredictConfig(**_stage(config, "predict", overwrite=True, report=True, **options)))


def _scored(config: LocateConfig) -> EvaluateReport:
    _log_step("boxes against true ones")
    places: Mapping[str, Any] = {"manifest": config.out / ANNOTATED, "run": config.out / RUN}
    shared = {"seed": config.seed, "device": config.device, "workers": config.workers}
    # Maps are scored as they were mixed for the boxes.
    mixed = {name: value for name, value in config.stage("predict").items() if name in ("mix", "scales")}
    options = {"threshold": f"{config.threshold:g}", "out": config.out / SCORES, **mixed, **shared, **places}
    return evaluate(EvaluateConfig(split="all", **options))


def _begun(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _log_step(what: str) -> None:
    logger.info("\n%s", what)
