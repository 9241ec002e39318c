"""After training: predict boxes for new frames, each independently, with its tag where that is known."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch

from tcam_cache.config import PredictConfig
from tcam_cache.config.predict import OTSU
from tcam_cache.config.sharing import parse_shard
from tcam_cache.datasets.boxes_table import ROWS
from tcam_cache.datasets.clip_frames import frame_total
from tcam_cache.errors import ConfigError, FrameError
from tcam_cache.files import locked
from tcam_cache.inference.boxes_folder import found_rows, refuse_single, write_table
from tcam_cache.inference.clip_boxes import DONE, ClipReport, Predictor
from tcam_cache.inference.clip_report import write_clip_report
from tcam_cache.inference.clips import SUFFIX, VIDEO, Clip, find_clips, share_of
from tcam_cache.processes import in_processes
from tcam_cache.progress import count_known, progress_bar

logger = logging.getLogger(__name__)
_COMPUTING = threading.Lock()
# Clips that the report of several names as its least sure.
_LEAST_SURE = 3


@dataclass(frozen=True)
class PredictReport:
    """The result of a prediction.

    Attributes:
        out: the folder with boxes.csv and, when asked for, overlays.
        frames: number of processed frames.
        boxes: number of boxes; at most one per frame.
        threshold: the tau used, or "otsu".
        ms_per_frame: wall time.
        files: in other formats, and the video; paths below `out`.
        clips: number of videos and folders of pictures.
        frames_per_second: of those found by this call; 0 where all were found before.
        report: the page that shows them, or "".
        awaited: clips of other shares that are not finished; their last call joins the rows of all.
        confidence: the mean over boxes, in [0, 1]; None without one.
        least_sure: clips whose boxes have the lowest mean confidence, with it; None is a clip without a box.
    """

    out: str
    frames: int
    boxes: int
    threshold: float | str
    ms_per_frame: float
    files: tuple[str, ...] = ()
    clips: int = 1
    frames_per_second: float = 0.0
    report: str = ""
    awaited: int = 0
    confidence: float | None = None
    least_sure: tuple[tuple[str, float | None], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as a line or two."""
        tau = self.threshold if isinstance(self.threshold, str) else f"{self.threshold:.3f}"
        of = f" of {self.clips} clips" if self.clips > 1 else ""
        line = (
            f"{self.out}/{ROWS}: {self.boxes} boxes in {self.frames} frames{of} at tau {tau}, "
            f"{self.ms_per_frame:.0f} ms a frame, {self.frames_per_second:.1f} frames/s"
        )
        # Each clip has the same files, in a folder of its own.
        names = tuple(dict.fromkeys(name.rpartition(f"{SUFFIX}/")[2] for name in self.files))
        place = "beside it" if names == self.files else "in the folder of each clip"
        beside = [f"  {place}: {', '.join(names)}"] if names else []
        others = [f"  {self.awaited} clips of other shards are not finished"] if self.awaited else []
        return "\n".join(
            [line, *self._sureness(), *beside, *([f"  {self.report}"] if self.report else []), *others]
        )

    def _sureness(self) -> list[str]:
        """Return a line of how sure the boxes are, and of the clips to look at first."""
        known = self.confidence is not None
        mean = [f"confidence of the boxes {self.confidence:.2f} on average"] if known else []
        clips = (f"{name} ({'no box' if sure is None else f'{sure:.2f}'})" for name, sure in self.least_sure)
        first = [f"least sure: {', '.join(clips)}"] if self.least_sure else []
        return [f"  {'; '.join([*mean, *first])}"] if mean or first else []


def predict(config: PredictConfig) -> PredictReport:
    """Find the object in every frame of videos and pictures: see `find_clips` for what may be given.

    Rows are written at once. After an interruption the same call resumes. The boxes of a single input are in
    `out` itself; each of several clips has a folder below it, and `out` one boxes.csv of all. Of several
    shares each joins what is there when it ends, one at a time: the last one joins all.

    Raises:
        ConfigError: the run does not know a tag, or a video cannot be written.
        FrameError: there is no image, or frames cannot be read: all are listed, after the rows of all other
            frames are written.
        RunError: the folder holds boxes of another input, run or setting, and `overwrite` is not set.
        WorkerError: a process was killed; what it had written is taken over the next time.
    """
    clips, faults = find_clips(config.source, config.out, sys.stdin, config.tag or "")
    predictor = Predictor.open(config)
    _check(config, predictor, clips)
    several = bool(clips[0].name)
    if several:
        refuse_single(config.out, config.overwrite)
    wanted = share_of(clips, parse_shard(config.shard))
    began = time.perf_counter()
    reports = list(_reports(config, predictor, wanted))
    seconds = time.perf_counter() - began
    # Of two shares that end at once, the second one sees the rows of the first.
    with locked(config.out / ROWS) if several else nullcontext():
        if several:
            parts = ((clip.above, found_rows(config.out / clip.name)) for clip in clips)
            write_table(config.out, parts, config.overwrite)
        page = _write_report(config, clips) if config.report else ""
    faults += [fault for report in reports for fault in report.faults]
    if faults:
        raise FrameError(
            f"{len(faults)} frame(s) or clip(s) cannot be read and have no row; the boxes of all others are "
            f"in {config.out / ROWS}. Replace them and run the same command again, or do without.",
            faults,
        )
    report = _report(config, predictor, wanted, reports, seconds, page)
    own = {clip.name for clip in wanted}
    others = (config.out / clip.name / DONE for clip in clips if clip.name not in own)
    return replace(report, awaited=sum(not done.exists() for done in others))


def _write_report(config: PredictConfig, clips: Sequence[Clip]) -> str:
    counted = f"{len(clips):,} clips" if len(clips) > 1 else str(clips[0].path)
    return str(write_clip_report(config.out, clips, f"Boxes in {counted}", embed=config.embed))


def _check(config: PredictConfig, predictor: Predictor, clips: Sequence[Clip]) -> None:
    """Make sure that all tags are known and that each video can be written."""
    predictor.localizer.require_tags([clip.shot.tag for clip in clips if clip.shot.tag])
    if config.threshold is None and predictor.localizer.threshold is None:
        logger.info("%s has no threshold from val: boxes are taken at tau %g", config.run, predictor.tau)
    if config.video and not any(clip.moving for clip in clips):
        path = clips[0].path if len(clips) == 1 else f"none of {len(clips)} inputs"
        raise ConfigError(f"{path} is no video: --video writes a clip again. Leave it out.")
    if config.smooth and not all(clip.lengths for clip in clips):
        raise ConfigError(
            "--smooth stays within shots, and cuts are not known of files. Index them with "
            "`tcam-cache manifest`, and give the manifest as INPUT."
        )
    for clip in clips:
        if config.video and clip.path.absolute() == (config.out / clip.name / VIDEO).absolute():
            raise ConfigError(f"the video would be written over {clip.path}. Give another --out.")


def _reports(config: PredictConfig, predictor: Predictor, clips: Sequence[Clip]) -> Iterator[ClipReport]:
    """Yield what was found in each clip, in order, in this process or in several."""
    if config.scheduler or (config.several_jobs and len(clips) > 1):
        job = partial(_job, config.absolute(), predictor.weights)
        calls = (partial(job, clip.absolute() if config.scheduler else clip) for clip in clips)
        with progress_bar(len(clips), "boxes", "clip") as bar:
            for report in in_processes(calls, config.jobs, config.scheduler):
                bar.update()
                yield report
        return
    totals = [frame_total(clip.source, clip.shot) for clip in clips]
    total = sum(one or 0 for one in totals) if all(totals) else None
    with progress_bar(total, "boxes", "frame") as bar:
        for clip in clips:
            yield predictor.find(clip, bar.update, partial(count_known, bar))


def _job(config: PredictConfig, weights: str, clip: Clip) -> ClipReport:
    """Find the boxes of a clip in a worker process, which keeps the run for its next one."""
    # A worker of dask may have several threads, and networks with hooks are for one at a time.
    with _COMPUTING:
        return _opened(config, weights).find(clip, lambda frames: None, lambda frames: None)


# The weights are a key of the memo: the run may have been trained anew in its folder.
@lru_cache(maxsize=1)
def _opened(config: PredictConfig, weights: str) -> Predictor:
    if not config.scheduler:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // (config.jobs or 1)))
    return Predictor.open(config)


def _report(
    config: PredictConfig,
    predictor: Predictor,
    clips: Sequence[Clip],
    reports: Sequence[ClipReport],
    seconds: float,
    page: str,
) -> PredictReport:
    # With several processes the wall time is that of all clips together.
    seconds = seconds if config.several_jobs else sum(report.seconds for report in reports)
    new = sum(report.new for report in reports)
    names = [clip.name for clip in clips]
    files = (
        f"{name}/{file}" if name else file
        for name, report in zip(names, reports, strict=True)
        for file in report.files
    )
    return PredictReport(
        str(config.out),
        sum(report.frames for report in reports),
        sum(report.boxes for report in reports),
        OTSU if predictor.tau is None else predictor.tau,
        round(1000 * seconds / max(1, new), 2),
        tuple(files),
        len(clips),
        round(new / seconds, 2) if seconds else 0.0,
        page,
        confidence=_mean_confidence(reports),
        least_sure=_least_sure(names, reports),
    )


def _mean_confidence(reports: Sequence[ClipReport]) -> float | None:
    known = [(report.confidence, report.boxes) for report in reports if report.confidence is not None]
    return sum(mean * boxes for mean, boxes in known) / sum(boxes for _, boxes in known) if known else None


def _least_sure(names: Sequence[str], reports: Sequence[ClipReport]) -> tuple[tuple[str, float | None], ...]:
    """Return the clips to look at first, those without a box before all; nothing of a single input."""
    known = [
        (name.removesuffix(SUFFIX), report.confidence)
        for name, report in zip(names, reports, strict=True)
        if name and report.frames and (report.confidence is not None or not report.boxes)
    ]
    return tuple(sorted(known, key=lambda one: (one[1] or 0.0, one[0]))[:_LEAST_SURE])
