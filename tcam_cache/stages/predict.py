"""After training: predict boxes for new frames, each independently and without a tag."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tcam_cache.cache.source_files import stamp_of
from tcam_cache.config import PredictConfig
from tcam_cache.datasets import ImageFrames, VideoFrames, data_depth, frame_times, image_names, is_moving
from tcam_cache.datasets.frames import squashing
from tcam_cache.datasets.listing import folders_below
from tcam_cache.datasets.video_file import is_video
from tcam_cache.devices import worker_count
from tcam_cache.errors import ConfigError, FrameError
from tcam_cache.evaluation.report.pictures import draw_boxes, overlay_cam, save_image
from tcam_cache.inference import Localizer
from tcam_cache.inference.boxes_folder import OVERLAYS, ROWS, BoxesFolder, Row
from tcam_cache.inference.maps import FrameMap, box_of
from tcam_cache.models import weights_hash
from tcam_cache.progress import progress_bar
from tcam_cache.records import Box, FrameSource, Shot

COLUMNS = ("frame", "predicted_class", "probability", "x0", "y0", "x1", "y1", "score")


@dataclass(frozen=True)
class PredictReport:
    """The result of a prediction.

    Attributes:
        out: the folder with boxes.csv and, when asked for, overlays.
        frames: number of processed frames.
        boxes: number of boxes; at most one per frame.
        threshold: the tau used.
        ms_per_frame: wall time.
    """

    out: str
    frames: int
    boxes: int
    threshold: float
    ms_per_frame: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as one line."""
        return (
            f"{self.out}/boxes.csv: {self.boxes} boxes in {self.frames} frames at tau {self.threshold:.3f}, "
            f"{self.ms_per_frame:.0f} ms a frame"
        )


def predict(config: PredictConfig) -> PredictReport:
    """Find the object in every picture of a folder, in one picture, or in every frame of a video file.

    Rows are written at once. After an interruption the same call resumes.

    Raises:
        FrameError: there is no image, or frames cannot be read: all are listed, after the rows of all other
            frames are written.
        ConfigError: no threshold is given and the run has none.
        RunError: the folder holds boxes of another input, run or setting, and `overwrite` is not set.
    """
    localizer = Localizer.open(config.run, config.device)
    tau = _threshold(config, localizer)
    source, shot = _input(config)
    source = squashing(source, localizer.classifier.preprocessing.interpolation)
    names = dict(zip(shot.frames, range(len(shot)), strict=True))
    folder = BoxesFolder.begin(
        config.out, COLUMNS, _stamps(source, shot), _settings(config, localizer, tau), config.overwrite
    )
    faults: list[str] = []
    left = [(shot, t) for name, t in names.items() if name not in folder.rows]
    began = time.perf_counter()
    workers = worker_count(config.workers)
    maps = localizer.maps(left, source, batch_size=config.batch_size, workers=workers, faults=faults)
    with folder, progress_bar(len(names), "boxes", "frame", done=len(names) - len(left)) as bar:
        for item in maps:
            box = box_of(item.scores, (item.width, item.height), tau)
            if config.overlays:
                _draw(source, item, box, config.out / folder.pictures[item.shot.frames[item.t]])
            folder.add(_row(item, box, localizer.classifier.classes))
            bar.update()
    seconds = time.perf_counter() - began
    if faults:
        raise FrameError(
            f"{len(faults)} of {len(names)} frame(s) cannot be read and have no row; the boxes of all others "
            f"are in {config.out / ROWS}. Replace them and run the same command again, or do without.",
            faults,
        )
    box_count = sum(row[3] != "" for row in folder.rows.values())
    each = round(1000 * seconds / max(1, len(left)), 2)
    return PredictReport(str(config.out), len(folder.rows), box_count, tau, each)


def _settings(config: PredictConfig, localizer: Localizer, tau: float) -> dict[str, Any]:
    """Return all settings that a row depends on."""
    return {
        "input": str(config.source.absolute()),
        "decoder": weights_hash(localizer.decoder.state_dict()),
        "encoder": localizer.classifier_file.hashes()["best_classification"],
        "threshold": tau,
        "batch_size": config.batch_size,
        "overlays": config.overlays,
    }


def _stamps(source: FrameSource, shot: Shot) -> dict[str, str]:
    """Return the present stamp of each frame's file, by the frame's name."""
    if isinstance(source, VideoFrames):
        return dict.fromkeys(shot.frames, stamp_of(source.files(shot)))
    return {name: stamp_of(source.files(shot.only([t]))) for t, name in enumerate(shot.frames)}


def _threshold(config: PredictConfig, localizer: Localizer) -> float:
    if config.threshold is not None:
        return config.threshold
    if localizer.threshold is None:
        raise ConfigError(f"{config.run} carries no threshold from val. Give one, such as --threshold 0.5.")
    return float(localizer.threshold["value"])


def _input(config: PredictConfig) -> tuple[FrameSource, Shot]:
    path, own = config.source, f"{OVERLAYS}/"
    if is_moving(path):
        source, names, folder = VideoFrames(path.parent), frame_times(path), path.name
    elif path.is_dir():
        source, folder = ImageFrames(path), "."
        names = image_names(path, but=config.out)
        if path.absolute() == config.out.absolute():
            names = tuple(name for name in names if not name.startswith(own))
        source = replace(source, depth=data_depth(path, names))
    else:
        source = ImageFrames(path.parent, depth=data_depth(path.parent, [path.name]))
        names, folder = (path.name,), "."
    if not path.exists() or not names:
        raise FrameError(
            f"there is no image in {path}. Give an image, a folder of images, or a video file."
            + _loop_over_videos(path)
        )
    return source, Shot("new", "", "new", "test", folder, tuple(names))


def _loop_over_videos(folder: Path) -> str:
    """Return how to take the videos of a folder, where there are some, one after the other."""
    found = folders_below(folder) if folder.is_dir() else ()
    place = next(
        (place for place, listing in found if any(is_video(place / name) for name in listing.others)), None
    )
    if place is None:
        return ""
    return (
        f" It holds videos; take them one after the other: for video in {shlex.quote(str(place))}/*; do "
        'tcam-cache predict RUN "$video" --out "boxes/${video##*/}"; done'
    )


def _row(item: FrameMap, box: Box | None, classes: Sequence[str]) -> Row:
    exponents = np.exp(item.logits - item.logits.max())
    best = int(exponents.argmax())
    corners: Row = ["", "", "", ""] if box is None else [round(value, 2) for value in box]
    probability = round(float(exponents[best] / exponents.sum()), 4)
    path = item.shot.frames[item.t]
    return [path, classes[best], probability, *corners, round(float(item.scores.max()), 4)]


def _draw(source: FrameSource, item: FrameMap, box: Box | None, path: Path) -> None:
    picture = overlay_cam(source.read(item.shot, item.t).pixels, item.scores)
    save_image(path, draw_boxes(picture, [box] if box else []))
