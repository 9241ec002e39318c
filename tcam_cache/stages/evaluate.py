"""Stage 3: score a run's maps, or the cached CAMs themselves, against true boxes, and write the report."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcam_cache.config import EvaluateConfig
from tcam_cache.datasets.frames import open_data
from tcam_cache.devices import worker_count
from tcam_cache.evaluation import (
    GRID,
    Evaluation,
    FrameSweep,
    Metrics,
    Panel,
    choose_tau,
    require_frames,
    require_val_tau,
    score,
    write_report,
)
from tcam_cache.inference.maps import FrameMap, annotated_frames
from tcam_cache.inference.scoring import sweep_maps
from tcam_cache.inference.targets import EvaluationTarget, open_target
from tcam_cache.progress import progress_bar
from tcam_cache.provenance import provenance
from tcam_cache.records import FrameSource, Shot

logger = logging.getLogger(__name__)

PANEL_WIDTH = 480
# What a report calls the maps that a run's own are mixed from.
PARTS = {"decoder": "decoder alone", "CAM": "CAM alone"}


@dataclass(frozen=True)
class EvaluateReport:
    """The result of stage 3.

    Attributes:
        report: the folder with metrics.json, frames.csv, table.md and index.html.
        evaluation: the numbers.
        parts: those of what the maps are mixed from, by name: decoder and CAM.
    """

    report: str
    evaluation: Evaluation
    parts: Mapping[str, Evaluation]

    @property
    def metrics(self) -> Metrics:
        """The content of metrics.json."""
        return self.evaluation.metrics

    def to_json(self) -> dict[str, Any]:
        """Return the content of metrics.json, and where the report is."""
        parts = {name: part.metrics.to_json() for name, part in self.parts.items()}
        return {**self.metrics.to_json(), "report": self.report, **({"parts": parts} if parts else {})}

    def to_text(self) -> str:
        """Return the report as a few lines."""
        metrics = self.metrics
        lines = [f"{metrics.method} on {metrics.split}: {metrics.frames} frames, boxes by {metrics.boxes}"]
        for name, policy in metrics.policies.items():
            tau = f"tau {policy['value']:.3f}" if isinstance(policy["value"], float) else ""
            headline = "  <- chosen" if name == metrics.threshold["policy"] else ""
            overlap = f"mean IoU {policy['mean_iou']:.3f}"
            lines.append(f"  {name:16} {tau:10} CorLoc {policy['corloc']:5.1f}  {overlap}{headline}")
        for label, part in self.parts.items():
            scores = ", ".join(
                f"{policy['corloc']:.1f} ({name})" for name, policy in part.metrics.policies.items()
            )
            lines.append(f"  {label}: CorLoc {scores}")
        known = "no logits, so no CL" if metrics.cl_accuracy is None else f"CL {metrics.cl_accuracy:.1f}"
        lines.append(f"  {known}, flat maps {metrics.flat_maps:.1f} %")
        return "\n".join([*lines, f"  {self.report}/index.html"])


def evaluate(config: EvaluateConfig, beside: Mapping[str, Evaluation] | None = None) -> EvaluateReport:
    """Score the annotated frames of a split and write a report (paper, Sec. 4.1).

    Args:
        config: the settings.
        beside: other evaluations of the same frames, shown in the report, by name.

    Raises:
        EvaluationError: the split has no true boxes.
        ConfigError: the policy is `val`, but the validation split has no boxes.
        CacheError: the cache is of another manifest, or lacks shots of the split.
    """
    manifest, source = open_data(config)
    workers = worker_count(config.workers)
    target, manifest = open_target(config, manifest, source, workers)
    frames = annotated_frames(manifest.split(config.split))
    require_frames(frames, config.split)
    val = annotated_frames(manifest.split(target.val_split))
    require_val_tau(config.threshold, target.val_tau is not None or bool(val))
    shown = _spread(frames, config.overlays)
    kept: dict[tuple[str, int], FrameMap] = {}
    seconds: list[float] = []
    made = _timed(target.maps(frames), seconds)
    maps = _keeping(made, {(shot.id, t) for shot, t in shown}, kept, len(frames))
    sweeps = sweep_maps(maps, target.classes, config.boxes, GRID, workers)
    taus = _val_taus(config, target, val, sweeps, workers)
    evaluations = {
        name: score(
            of_kind,
            config.threshold,
            taus.get(name),
            split=config.split,
            method=name or target.method,
            classes=manifest.classes,
            # A cached map is read, not made.
            ms_per_frame=round(1000 * sum(seconds) / len(frames), 3) if target.is_decoder else None,
            provenance=provenance(config=config.to_json(), **target.facts),
        )
        for name, of_kind in sweeps.items()
    }
    evaluation = evaluations.pop("")
    parts = {PARTS[name]: part for name, part in evaluations.items()}
    panels = _panels(evaluation, shown, kept, target, source)
    if unshown := target.unshown([shot for shot, _ in shown]) if shown else "":
        logger.warning("%s", unshown)
    write_report(config.out, evaluation, panels, {**(beside or {}), **parts}, unshown=unshown)
    return EvaluateReport(str(Path(config.out)), evaluation, parts)


def _val_taus(
    config: EvaluateConfig,
    target: EvaluationTarget,
    frames: Sequence[tuple[Shot, int]],
    sweeps: Mapping[str, Sequence[FrameSweep]],
    workers: int,
) -> dict[str, float]:
    """Return the tau that val chooses for each kind of maps; none without boxes there."""
    stored = {} if target.val_tau is None else {"": target.val_tau}
    if not frames or set(sweeps) == set(stored):
        return stored
    known = {(sweep.shot, sweep.t) for sweep in sweeps[""]}
    wanted = {(shot.id, t) for shot, t in frames}
    on_val: Mapping[str, Sequence[FrameSweep]] = (
        {name: [one for one in swept if (one.shot, one.t) in wanted] for name, swept in sweeps.items()}
        if wanted <= known
        else sweep_maps(target.maps(frames), target.classes, config.boxes, GRID, workers)
    )
    return {name: choose_tau(swept) for name, swept in on_val.items()} | stored


def _spread(frames: Sequence[tuple[Shot, int]], count: int) -> list[tuple[Shot, int]]:
    """Return frames to show: equally many of each video, evenly spaced in time."""
    videos: dict[str, list[tuple[Shot, int]]] = {}
    for shot, t in frames:
        videos.setdefault(shot.video, []).append((shot, t))
    if not videos or not count:
        return []
    each = max(1, count // len(videos))
    chosen = [
        [of_video[i] for i in np.linspace(0, len(of_video) - 1, min(each, len(of_video)), dtype=int)]
        for of_video in videos.values()
    ]
    return [frame for of_video in chosen for frame in of_video][:count]


def _timed(maps: Iterable[FrameMap], seconds: list[float]) -> Iterator[FrameMap]:
    """Yield the maps, and note the time that each took: boxes at 1,000 thresholds are no part of it."""
    asked = time.perf_counter()
    for item in maps:
        seconds.append(time.perf_counter() - asked)
        yield item
        asked = time.perf_counter()


def _keeping(
    maps: Iterable[FrameMap],
    wanted: set[tuple[str, int]],
    kept: dict[tuple[str, int], FrameMap],
    total: int,
) -> Iterator[FrameMap]:
    with progress_bar(total, "boxes", "frame") as bar:
        for item in maps:
            if (item.shot.id, item.t) in wanted:
                kept[item.shot.id, item.t] = item
            bar.update()
            yield item


def _panels(
    evaluation: Evaluation,
    shown: Sequence[tuple[Shot, int]],
    kept: dict[tuple[str, int], FrameMap],
    target: EvaluationTarget,
    source: FrameSource,
) -> Iterator[Panel]:
    rows = {(row.shot, row.t): row for row in evaluation.rows}
    for shot, t in shown:
        row, item = rows[shot.id, t], kept[shot.id, t]
        step = max(1, item.width // PANEL_WIDTH)
        cam, temporal = target.cams_of(shot.id, t)
        yield Panel(
            path=row.path,
            tag=shot.tag,
            pixels=source.read(shot, t).pixels[::step, ::step],
            width=item.width,
            cam=cam,
            temporal=temporal,
            decoder=item.scores if target.is_decoder else None,
            true_boxes=shot.boxes[t],
            predicted_box=row.box,
            iou=row.iou,
            hit=row.hit,
        )
