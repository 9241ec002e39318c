"""The boxes of one clip: while a batch passes the networks, the next is decoded and the last one is drawn."""

import json
import os
import time
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from tcam_cache.cache.source_files import stamp_of
from tcam_cache.config import PredictConfig
from tcam_cache.config.predict import OTSU
from tcam_cache.datasets.batches import FrameBatch
from tcam_cache.datasets.boxes_table import ROWS, FoundBox
from tcam_cache.datasets.clip_frames import ClipFrame, clip_frames
from tcam_cache.datasets.frames import squashing
from tcam_cache.datasets.video import time_of
from tcam_cache.evaluation.report.pictures import save_image
from tcam_cache.files import write_json
from tcam_cache.inference.boxes_folder import BoxesFolder, found_rows
from tcam_cache.inference.clips import VIDEO, Clip
from tcam_cache.inference.confidence import frame_confidence
from tcam_cache.inference.formats.tools import frame_rate
from tcam_cache.inference.formats.video import drawn, write_video
from tcam_cache.inference.formats.writing import write_formats
from tcam_cache.inference.localizer import Localizer
from tcam_cache.inference.maps import FrameMap, box_of
from tcam_cache.inference.tracks import PRESENCE_RADIUS, completed_rows
from tcam_cache.models import weights_hash
from tcam_cache.processes import in_advance, in_threads
from tcam_cache.provenance import sha256_of

# Frames that wait to be drawn: enough to keep the threads busy, few enough to limit memory.
_TO_DRAW = 8
DONE = "clip.json"

MappedFrame = tuple[ClipFrame, FrameMap]


@dataclass(frozen=True)
class ClipReport:
    """What was found in one clip.

    Attributes:
        frames: number of rows in its boxes.csv.
        boxes: number of boxes in them.
        files: in other formats, and the video; paths below its folder.
        faults: what cannot be read, one text each.
        new: frames found by this call; the others were found before.
        seconds: that they took.
        confidence: the mean over its boxes, in [0, 1]; None without one.
    """

    frames: int
    boxes: int
    files: tuple[str, ...]
    faults: tuple[str, ...]
    new: int
    seconds: float
    confidence: float | None = None


@dataclass(frozen=True)
class Predictor:
    """A run, opened with the settings under which it finds boxes in clips.

    Attributes:
        config: the settings.
        localizer: the run.
        tau: the threshold in [0, 1); None for Otsu's of each map.
        settings: all that a row depends on besides its clip, as JSON values.
    """

    config: PredictConfig
    localizer: Localizer
    tau: float | None
    settings: Mapping[str, Any]

    @classmethod
    def open(cls, config: PredictConfig) -> Self:
        """Open the run.

        Raises:
            ConfigError: the run does not know the tag.
            RunError: there is no run, or none with a finished epoch.
        """
        localizer = Localizer.open(config.run, config.device).mixing(config.mix, config.scales)
        localizer.require_tags([config.tag] if config.tag else [])
        tau = localizer.tau if config.threshold is None else config.threshold
        # Absent where it is not used: boxes of earlier versions are gone on with.
        averaged = {} if config.scales == "1" else {"scales": config.scales}
        settings = {
            **averaged,
            "decoder": weights_hash(localizer.decoder.state_dict()),
            "encoder": localizer.classifier_file.hashes()["best_classification"],
            "threshold": tau,
            "batch_size": config.batch_size,
            "mix": localizer.config.mix,
            "overlays": config.overlays,
        }
        return cls(config, localizer, None if tau == OTSU else float(tau), settings)

    @property
    def weights(self) -> str:
        """A digest of the networks."""
        return sha256_of([self.settings["encoder"], self.settings["decoder"]])

    @property
    def threads(self) -> int:
        """How many threads decode and draw beside the one that computes."""
        if self.config.workers is not None:
            return self.config.workers
        # The workers of a cluster fill its cores.
        cores = 0 if self.config.scheduler else (os.cpu_count() or 2) // (self.config.jobs or 1)
        return max(1, cores - 1)

    def find(
        self,
        clip: Clip,
        on_frames: Callable[[int], object],
        on_known: Callable[[int], object],
    ) -> ClipReport:
        """Find the object in every frame of a clip; rows are written at once, and taken over the next time.

        Args:
            clip: its boxes go to its folder below OUT, and so do all that is made of them.
            on_frames: called with the number of newly found frames.
            on_known: called with the number of those that were found before.

        Raises:
            RunError: the folder holds boxes of another input, run or setting, and `overwrite` is not set.
            StorageError: the file system refuses a write.
        """
        out, settings, stamps = self.config.out / clip.name, self._settings(clip), _stamps(clip)
        done = {**settings, "stamps": sha256_of(stamps), **self._wanted()}
        if clip.name and (report := _known(out, done)):
            on_known(report.frames)
            return report
        before = {row.frame: row for row in found_rows(out)}
        folder = BoxesFolder.begin(out, stamps, settings, self.config.overwrite)
        faults: list[str] = []
        _measure(folder, clip)
        known, began = sum(row.width > 0 for row in folder.rows.values()), time.perf_counter()
        on_known(known)
        # Readers silence warnings each for itself, which threads undo for each other.
        with warnings.catch_warnings(action="ignore"):
            with folder:
                for row in () if folder.finished else self._found(clip, folder, faults):
                    folder.add(row)
                    on_frames(1)
                folder.finished = clip.moving and not faults
            seconds = time.perf_counter() - began
            self._complete(clip, folder)
            files = self._write_files(clip, folder, before)
        report = _report(folder, files, faults, len(folder.rows) - known, seconds)
        if clip.name and not faults:
            write_json(out / DONE, {**done, "report": asdict(replace(report, new=0, seconds=0.0))})
        return report

    def _settings(self, clip: Clip) -> dict[str, Any]:
        """Return all that a row of a clip depends on; a setting of later versions only where it is used."""
        settings = {"input": str(clip.path.absolute()), **self.settings}
        if clip.shot.tag:
            settings["tag"] = clip.shot.tag
        if clip.moving and clip.shot.frames:
            settings["frames"] = sha256_of(clip.shot.frames)
        return settings

    def _wanted(self) -> dict[str, Any]:
        names = ("formats", "video", "map", "overlays", "presence", "smooth")
        return {name: getattr(self.config, name) for name in names}

    def _complete(self, clip: Clip, folder: BoxesFolder) -> None:
        """Let the other frames of its shot speak for each frame of a clip."""
        numbers = np.repeat(np.arange(len(clip.lengths)), clip.lengths).tolist()
        shot_of = dict(zip(clip.shot.frames, numbers, strict=False))
        rows = folder.found()
        known = self.localizer.presence
        default = known.threshold if known else 0.0
        threshold = default if self.config.presence is None else self.config.presence
        radius = min(1, len(clip.lengths)) if self.config.smooth is None else self.config.smooth
        shots = [shot_of.get(row.frame, 0) for row in rows]
        # Pictures of which no shot is known may have nothing to do with each other.
        window = PRESENCE_RADIUS if clip.moving or clip.lengths else 0
        folder.complete(completed_rows(rows, shots, threshold, radius, window))

    def _found(self, clip: Clip, folder: BoxesFolder, faults: list[str]) -> Iterator[FoundBox]:
        """Yield the rows of the frames that have none yet, in order."""
        mapped = self._mapped(clip, False, faults, folder.rows)
        return in_threads(partial(self._finished, clip), mapped, self.threads, _TO_DRAW)

    def _mapped(
        self, clip: Clip, whole: bool, faults: list[str], skip: Container[str] = ()
    ) -> Iterator[MappedFrame]:
        """Yield frames with their maps; the next batch is decoded while one is computed."""
        size, how = self.localizer.side, self.localizer.classifier.preprocessing.interpolation
        source = squashing(clip.source, how)
        frames = clip_frames(
            source, clip.shot, size, skip=skip, whole=whole, threads=self.threads, faults=faults
        )
        at_once = self.localizer.at_once(self.config.batch_size)
        for batch in in_advance(_in_batches(frames, at_once), self.threads):
            places = tuple((clip.shot, frame.number) for frame in batch)
            rgb = torch.from_numpy(np.stack([frame.squashed for frame in batch])).permute(0, 3, 1, 2)
            sizes = torch.tensor([[frame.width, frame.height] for frame in batch])
            of_batch = FrameBatch(places, rgb, sizes, ())
            maps = self.localizer.batch_maps(of_batch, tagged=bool(clip.shot.tag))
            yield from zip(batch, maps, strict=True)

    def _finished(self, clip: Clip, mapped: MappedFrame) -> FoundBox:
        """Return the row of a frame."""
        frame, item = mapped
        box = box_of(item.scores, (item.width, item.height), self.tau)
        classes = self.localizer.classifier.classes
        exponents = np.exp(item.logits - item.logits.max())
        best = classes.index(clip.shot.tag) if clip.shot.tag else int(exponents.argmax())
        decoded = dict(item.parts).get("decoder", item.scores)
        return _place(clip, frame)._replace(
            tag=classes[best],
            probability=float(exponents[best] / exponents.sum()),
            box=box,
            score=float(decoded.max()),
            confidence=frame_confidence(item, box),
            presence=None if item.presence is None else float(item.presence[best]),
        )

    def _write_files(self, clip: Clip, folder: BoxesFolder, before: Mapping[str, FoundBox]) -> list[str]:
        """Write what is made of the finished rows: other formats, overlays and the video.

        Args:
            clip: the clip.
            folder: of its boxes.
            before: rows of an earlier call, whose overlays need not be drawn again.
        """
        boxes = folder.found()
        shot = replace(clip.shot, frames=tuple(one.frame for one in boxes)) if clip.moving else clip.shot
        classes = self.localizer.classifier.classes
        files = write_formats(folder, self.config.formats, classes, clip.source, shot, clip.source.root)
        whole, moving = replace(clip, shot=shot), self.config.video and clip.moving and bool(boxes)
        rows = {one.frame: one for one in boxes}
        if self.config.overlays:
            same = {name for name, row in rows.items() if row == before.get(name)}
            drawn_before = {name for name in same if folder.picture(name).exists()}
        else:
            drawn_before = set(rows)
        if moving:
            pictures = self._pictures(whole, rows, folder, drawn_before, set())
            write_video(folder.path / VIDEO, clip.path, pictures, frame_rate(boxes))
            files.append(VIDEO)
        elif drawn_before != set(rows):
            for _ in self._pictures(whole, rows, folder, drawn_before, drawn_before):
                pass
        return files

    def _pictures(
        self,
        clip: Clip,
        rows: Mapping[str, FoundBox],
        folder: BoxesFolder,
        drawn_before: Container[str],
        skip: Container[str],
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each frame's time in milliseconds and its picture with box and tag, written as its overlay.

        Maps are not stored, so that for them the frames pass the networks once more.
        """
        if self.config.map:
            frames = ((frame, item.scores) for frame, item in self._mapped(clip, True, [], skip))
        else:
            whole = clip_frames(clip.source, clip.shot, 1, skip=skip, whole=True, threads=0, faults=[])
            frames = ((frame, None) for frame in in_advance(whole, self.threads, _TO_DRAW))

        def picture(mapped: tuple[ClipFrame, np.ndarray | None]) -> tuple[int, np.ndarray]:
            """Return a frame's time and the picture that is shown then, after its overlay is written."""
            frame, scores = mapped
            pixels = drawn(frame.squashed if frame.pixels is None else frame.pixels, rows[frame.name], scores)
            if frame.name not in drawn_before:
                save_image(folder.picture(frame.name), pixels)
            return time_of(frame.name) if clip.moving else 0, pixels

        return in_threads(picture, frames, self.threads, _TO_DRAW)


def _report(
    folder: BoxesFolder, files: Sequence[str], faults: Sequence[str], new: int, seconds: float
) -> ClipReport:
    boxes = [row for row in folder.found() if row.box is not None]
    sure = [row.confidence for row in boxes if row.confidence is not None]
    mean = sum(sure) / len(sure) if sure else None
    return ClipReport(len(folder.rows), len(boxes), tuple(files), tuple(faults), new, seconds, mean)


def _in_batches(frames: Iterator[ClipFrame], size: int) -> Iterator[list[ClipFrame]]:
    while batch := list(islice(frames, size)):
        yield batch


def _stamps(clip: Clip) -> dict[str, str] | str:
    """Return the present stamp of a video's file, or of each picture's by the frame's name."""
    source, shot = clip.source, clip.shot
    if clip.moving:
        return stamp_of(source.files(shot))
    return {name: stamp_of(source.files(shot.only([t]))) for t, name in enumerate(shot.frames)}


def _known(out: Path, done: Mapping[str, Any]) -> ClipReport | None:
    """Return the report of a clip that an earlier call finished with the same settings and files, or None."""
    try:
        stored = json.loads((out / DONE).read_text(encoding="utf-8"))
        report = stored.pop("report")
        if stored != json.loads(json.dumps(done)) or not (out / ROWS).is_file():
            return None
        return ClipReport(**{**report, "files": tuple(report["files"]), "faults": ()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _place(clip: Clip, frame: ClipFrame) -> FoundBox:
    """Return a row that says where a frame is and nothing of what is in it."""
    video, _, name = (clip.shot.folder, "", frame.name) if clip.moving else frame.name.rpartition("/")
    seconds = time_of(name) / 1000 if clip.moving else None
    return FoundBox(video, frame.number, name, seconds, frame.width, frame.height, "", 0.0, None, 0.0)


def _measure(folder: BoxesFolder, clip: Clip) -> None:
    """Complete the rows of pictures by an earlier version, which lack their place and size."""
    lacking = {name for name, row in folder.rows.items() if not row.width}
    if not lacking:
        return
    others = set(clip.shot.frames) - lacking
    for frame in clip_frames(clip.source, clip.shot, 1, skip=others, whole=False, threads=0, faults=[]):
        row = folder.rows[frame.name]
        fields = {"tag": row.tag, "probability": row.probability, "box": row.box, "score": row.score}
        folder.rows[frame.name] = _place(clip, frame)._replace(**fields)
