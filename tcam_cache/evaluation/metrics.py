"""CorLoc and related metrics: the row of each frame, and the means over the rows."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from itertools import pairwise
from typing import Any, Self

import numpy as np

from tcam_cache.errors import EvaluationError
from tcam_cache.evaluation.boxes import GRID, hits, iou
from tcam_cache.evaluation.rows import FrameRow
from tcam_cache.evaluation.thresholds import (
    FrameSweep,
    Threshold,
    by_class,
    corloc_curve,
    frame_hits,
    require_frames,
    thresholds,
)
from tcam_cache.records import Box

logger = logging.getLogger(__name__)

DECIMALS = 6
OVERLAPS = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Metrics:
    """The content of metrics.json: shares in percent (0..100), mean IoU and stability in 0..1.

    Attributes:
        split: the evaluated split.
        method: that made the maps, such as "tcam" or "layercam".
        frames: number of annotated frames.
        boxes: how boxes are taken from maps, "components" or "wsol".
        threshold: {"policy", "value"} of the headline numbers.
        corloc: at IoU 0.5: {"mean_over_classes", "mean_over_frames", "per_class", "per_video"}.
        corloc_at: class mean at IoU "0.3", "0.5" and "0.7".
        max_box_acc: share of frames found at IoU 0.5 by the largest region, at the best tau (MaxBoxAcc).
        max_box_acc_v2: mean over IoU 0.3, 0.5 and 0.7 of the share of frames found by any region, at the tau
            best for each (MaxBoxAccV2; the published one where boxes are "wsol").
        mean_iou: over frames; a frame without a box counts 0.
        mean_iou_over_classes: unweighted mean of the classes' mean IoU.
        cl_accuracy: share of annotated frames whose first predicted class is the tag (CL), or None.
        top1_localization: share of frames found and classified right, or None.
        stability: mean IoU of the predicted boxes of frames t and t + 1 of a shot; None without such pairs.
        flat_maps: share of frames whose map is constant.
        no_box: share of frames without a box; they are misses.
        true_boxes: number of true boxes.
        policies: {"value", "corloc", "mean_iou"} of every threshold policy.
        classes_without_frames: classes of the data set without an annotated frame; no mean includes them.
        ms_per_frame: time for one frame's map, from reading the frame on; None for maps that were cached.
        provenance: versions, host and command line.
    """

    split: str
    method: str
    frames: int
    boxes: str
    threshold: Mapping[str, Any]
    corloc: Mapping[str, Any]
    corloc_at: Mapping[str, float]
    max_box_acc: float
    max_box_acc_v2: float
    mean_iou: float
    mean_iou_over_classes: float
    cl_accuracy: float | None
    top1_localization: float | None
    stability: float | None
    flat_maps: float
    no_box: float
    true_boxes: int
    policies: Mapping[str, Mapping[str, Any]]
    classes_without_frames: tuple[str, ...] = ()
    ms_per_frame: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        return {**asdict(self), "classes_without_frames": list(self.classes_without_frames)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the metrics that `to_json` wrote; what a later version adds is left out.

        Raises:
            EvaluationError: entries are missing (all named).
        """
        known = {spec.name: spec for spec in fields(cls)}
        missing = [
            name
            for name, spec in known.items()
            if name not in values and spec.default is MISSING and spec.default_factory is MISSING
        ]
        if missing:
            raise EvaluationError("metrics.json lacks entries. Run `tcam-cache evaluate` again.", missing)
        kept = {name: value for name, value in values.items() if name in known}
        return cls(**{**kept, "classes_without_frames": tuple(kept.get("classes_without_frames", ()))})


@dataclass(frozen=True)
class Evaluation:
    """The results of one method on one split, as shown in a report.

    Attributes:
        metrics: the content of metrics.json.
        rows: the content of frames.csv.
        taus: (K,) thresholds.
        curve: (K,) class mean of CorLoc at each of them, in percent.
    """

    metrics: Metrics
    rows: tuple[FrameRow, ...]
    taus: np.ndarray
    curve: np.ndarray


def score(
    sweeps: Sequence[FrameSweep],
    threshold: str,
    val_tau: float | None = None,
    *,
    split: str,
    method: str,
    classes: Sequence[str] = (),
    ms_per_frame: float | None = None,
    provenance: Mapping[str, Any] | None = None,
    taus: np.ndarray = GRID,
) -> Evaluation:
    """Score the annotated frames of a split under every threshold policy, the reported one first.

    Args:
        sweeps: one per annotated frame, all of one box mode.
        threshold: "val", "oracle", "oracle-per-class", "otsu" or a number; numbers snap to the nearest tau.
        val_tau: from `choose_tau` on validation frames; needed for "val".
        split: the evaluated split.
        method: that made the maps.
        classes: of the data set; those without an annotated frame are named and left out of the means.
        ms_per_frame: time for one frame's map.
        provenance: stored unchanged.
        taus: (K,) the thresholds of the sweeps.

    Raises:
        EvaluationError: no frame is annotated.
        ConfigError: "val" without `val_tau`, or no such policy.
    """
    require_frames(sweeps, split)
    policies = thresholds(sweeps, threshold, val_tau, taus)
    rows = frame_rows(sweeps, policies, taus)
    metrics = measure(
        rows,
        policies,
        mode=sweeps[0].mode,
        split=split,
        method=method,
        classes=classes,
        ms_per_frame=ms_per_frame,
        provenance=provenance,
    )
    return Evaluation(metrics, rows, taus, corloc_curve(sweeps))


def frame_rows(
    sweeps: Sequence[FrameSweep], policies: Mapping[str, Threshold], taus: np.ndarray = GRID
) -> tuple[FrameRow, ...]:
    """Return one row per frame; the first of `policies` is the chosen one."""
    chosen, *_ = policies.values()
    best = {at: int(frame_hits(sweeps, at, regions="any").mean(axis=0).argmax()) for at in OVERLAPS}
    largest = int(frame_hits(sweeps).mean(axis=0).argmax())
    return tuple(_row(sweep, chosen, policies, best, largest, taus) for sweep in sweeps)


def measure(
    rows: Sequence[FrameRow],
    policies: Mapping[str, Threshold],
    *,
    mode: str,
    split: str,
    method: str,
    classes: Sequence[str] = (),
    ms_per_frame: float | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Metrics:
    """Compute the metrics from the rows of frames.csv; the first of `policies` is the headline's.

    Raises:
        EvaluationError: there is no row.
    """
    require_frames(rows, split)
    tags, values = [row.tag for row in rows], frame_values(rows, mode)
    absent = tuple(sorted(set(classes) - set(tags)))
    if absent:
        logger.warning("no annotated frame of: %s. The means are over the other classes.", ", ".join(absent))
    chosen, *_ = policies.values()
    return Metrics(
        split=split,
        method=method,
        frames=len(rows),
        boxes=mode,
        threshold={"policy": chosen.policy, "value": chosen.value},
        corloc=_corloc(rows),
        corloc_at={f"{at:g}": _class_mean(values[f"corloc_{at:g}"], tags) for at in OVERLAPS},
        max_box_acc=_percent(hits(np.array([row.ious["largest_0.5"] for row in rows]), mode)),
        max_box_acc_v2=_percent(values["max_box_acc_v2"]),
        mean_iou=round(float(values["mean_iou"].mean()), DECIMALS),
        mean_iou_over_classes=round(_class_mean(values["mean_iou"], tags) / 100, DECIMALS),
        cl_accuracy=_percent(values["cl_accuracy"]) if "cl_accuracy" in values else None,
        top1_localization=_percent(values["top1_localization"]) if "top1_localization" in values else None,
        stability=_stability(rows),
        flat_maps=_percent([row.flat for row in rows]),
        no_box=_percent([row.box is None for row in rows]),
        true_boxes=sum(len(row.true_boxes) for row in rows),
        policies={name: _under(rows, policy, mode) for name, policy in policies.items()},
        classes_without_frames=absent,
        ms_per_frame=ms_per_frame,
        provenance=dict(provenance or {}),
    )


def _row(
    sweep: FrameSweep,
    chosen: Threshold,
    policies: Mapping[str, Threshold],
    best: Mapping[float, int],
    largest: int,
    taus: np.ndarray,
) -> FrameRow:
    box, overlap = chosen.pick(sweep, taus)
    ious = {name: policy.pick(sweep, taus)[1] for name, policy in policies.items()}
    ious |= {f"best_{at:g}": float(sweep.any_ious[index]) for at, index in best.items()}
    ious["largest_0.5"] = float(sweep.ious[largest])
    return FrameRow(
        path=sweep.path,
        tag=sweep.tag,
        predicted_tag=sweep.predicted_tag,
        box=None if np.isnan(box).any() else Box(*map(float, box)),
        iou=overlap,
        hit=bool(hits(overlap, sweep.mode)),
        flat=sweep.flat,
        video=sweep.video,
        shot=sweep.shot,
        t=sweep.t,
        true_boxes=sweep.true_boxes,
        ious=ious,
    )


def frame_values(rows: Sequence[FrameRow], mode: str) -> dict[str, np.ndarray]:
    """Return the (F,) values in 0..1 whose mean over frames or classes is a metric, by its name.

    Args:
        rows: of frames.csv.
        mode: how boxes are taken, "components" or "wsol".

    Returns:
        "corloc_0.3", "corloc_0.5", "corloc_0.7", "max_box_acc_v2" and "mean_iou"; "cl_accuracy" and
        "top1_localization" only where every frame has a predicted class.
    """
    overlaps = np.array([row.iou for row in rows])
    best = [hits([row.ious[f"best_{at:g}"] for row in rows], mode, at) for at in OVERLAPS]
    values = {f"corloc_{at:g}": hits(overlaps, mode, at) for at in OVERLAPS}
    values |= {"max_box_acc_v2": np.mean(best, axis=0), "mean_iou": overlaps}
    if all(row.predicted_tag is not None for row in rows):
        right = np.array([row.predicted_tag == row.tag for row in rows])
        values |= {"cl_accuracy": right, "top1_localization": right & values["corloc_0.5"]}
    return {name: np.asarray(value, float) for name, value in values.items()}


def _corloc(rows: Sequence[FrameRow]) -> dict[str, Any]:
    correct = np.array([row.hit for row in rows])
    per_class = by_class(correct, [row.tag for row in rows])
    per_video = by_class(correct, [row.video for row in rows])
    return {
        "mean_over_classes": _percent(list(per_class.values())),
        "mean_over_frames": _percent(correct),
        "per_class": {tag: _percent(share) for tag, share in per_class.items()},
        "per_video": {video: _percent(share) for video, share in per_video.items()},
    }


def _stability(rows: Sequence[FrameRow]) -> float | None:
    ordered = sorted(rows, key=lambda row: (row.shot, row.t))
    pairs = [(a, b) for a, b in pairwise(ordered) if a.shot == b.shot and b.t == a.t + 1]
    overlaps = [
        iou(np.array([a.box]), np.array([b.box])).item() if a.box and b.box else 0.0 for a, b in pairs
    ]
    return round(float(np.mean(overlaps)), DECIMALS) if overlaps else None


def _under(rows: Sequence[FrameRow], policy: Threshold, mode: str) -> dict[str, Any]:
    overlaps = np.array([row.ious[policy.policy] for row in rows])
    return {
        "value": policy.value,
        "corloc": _class_mean(hits(overlaps, mode), [row.tag for row in rows]),
        "mean_iou": round(float(overlaps.mean()), DECIMALS),
    }


def _class_mean(values: np.ndarray, tags: Sequence[str]) -> float:
    return _percent(list(by_class(values, tags).values()))


def _percent(shares: Any) -> float:
    return round(100 * float(np.mean(shares)), DECIMALS)
