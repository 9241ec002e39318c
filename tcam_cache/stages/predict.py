"""After training: boxes for new frames, each on its own, with no tag given."""

import csv
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcam_cache.config import MAP_SIZE, PredictConfig
from tcam_cache.datasets import ImageFrames, VideoFrames, frame_times, image_names, is_video
from tcam_cache.errors import ConfigError, FrameError
from tcam_cache.evaluation import boxes_at
from tcam_cache.evaluation.overlays import draw_boxes, overlay_cam, save_image
from tcam_cache.files import make_folder, write_text
from tcam_cache.progress import progress_bar
from tcam_cache.records import Box, FrameSource, Shot
from tcam_cache.stages.localizer import Localizer, open_localizer
from tcam_cache.stages.maps import FrameMap, decoder_maps
from tcam_cache.stages.setup import find_device, worker_count

COLUMNS = ("frame", "predicted_class", "probability", "x0", "y0", "x1", "y1", "score")


@dataclass(frozen=True)
class PredictReport:
    """What was found in new frames.

    Attributes:
        out: the folder with boxes.csv and, when asked for, overlays.
        frames: looked at.
        boxes: found; at most one a frame.
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
    """Find the object in every image of a folder, in one image, or in every frame of a video file.

    Raises:
        FrameError: there is no image, or frames cannot be read (all are named).
        ConfigError: no threshold was given and the run carries none.
    """
    localizer = open_localizer(config.run, find_device(config.device))
    tau = _threshold(config, localizer)
    source, frames = _frames(config.source)
    out = make_folder(config.out)
    trained = localizer.config
    began = time.perf_counter()
    maps = decoder_maps(
        localizer.classifier,
        localizer.decoder,
        frames,
        source,
        image_size=trained.image_size,
        map_size=MAP_SIZE,
        batch_size=config.batch_size,
        workers=worker_count(config.workers),
    )
    rows = []
    with progress_bar(len(frames), "boxes", "frame") as bar:
        for item in maps:
            box = _box(item, tau)
            rows.append(_row(item, box, localizer.classifier.classes))
            if config.overlays:
                _draw(source, item, box, out)
            bar.update()
    _write_csv(out / "boxes.csv", rows)
    seconds = time.perf_counter() - began
    found = sum(row[3] != "" for row in rows)
    return PredictReport(str(out), len(rows), found, tau, round(1000 * seconds / len(rows), 2))


def _threshold(config: PredictConfig, localizer: Localizer) -> float:
    if config.threshold is not None:
        return config.threshold
    if localizer.threshold is None:
        raise ConfigError(f"{config.run} carries no threshold from val. Give one, such as --threshold 0.5.")
    return float(localizer.threshold["value"])


def _frames(path: Path) -> tuple[FrameSource, list[tuple[Shot, int]]]:
    if is_video(path):
        source, names, folder = VideoFrames(path.parent), frame_times(path), path.name
    else:
        source = ImageFrames(path if path.is_dir() else path.parent)
        names, folder = image_names(path) if path.is_dir() else (path.name,), "."
    if not path.exists() or not names:
        raise FrameError(f"there is no image in {path}. Give an image, a folder of images, or a video file.")
    shot = Shot("new", "", "new", "test", folder, tuple(names))
    return source, [(shot, t) for t in range(len(shot))]


def _box(item: FrameMap, tau: float) -> Box | None:
    box = boxes_at(item.scores, np.array([tau]))[0]
    if np.isnan(box).any():
        return None
    scale = np.array([item.width, item.height] * 2) / item.scores.shape[0]
    return Box(*(box * scale).tolist())


def _row(item: FrameMap, box: Box | None, classes: Sequence[str]) -> list[Any]:
    exponents = np.exp(item.logits - item.logits.max())
    best = int(exponents.argmax())
    corners = ["", "", "", ""] if box is None else [round(value, 2) for value in box]
    probability = round(float(exponents[best] / exponents.sum()), 4)
    path = item.shot.frames[item.t]
    return [path, classes[best], probability, *corners, round(float(item.scores.max()), 4)]


def _draw(source: FrameSource, item: FrameMap, box: Box | None, out: Path) -> None:
    picture = overlay_cam(source.read(item.shot, item.t).pixels, item.scores)
    # Appended, not exchanged: a.png and a.jpg may lie side by side.
    name = item.shot.frames[item.t]
    name = name if name.endswith(".jpg") else f"{name}.jpg"
    save_image(out / "overlays" / name, draw_boxes(picture, [box] if box else []))


def _write_csv(path: Path, rows: Iterator[list[Any]] | list[list[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    write_text(path, text.getvalue())
