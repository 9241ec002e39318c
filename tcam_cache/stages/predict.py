"""After training: predict boxes for new frames, each independently and without a tag."""

import logging
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tcam_cache.cache.source_files import stamp_of
from tcam_cache.config import PredictConfig
from tcam_cache.datasets import ImageFrames, VideoFrames, data_depth, frame_times, image_names, is_moving
from tcam_cache.datasets.batches import ShotFrame
from tcam_cache.datasets.boxes_table import PICTURE_FOLDERS, ROWS, FoundBox
from tcam_cache.datasets.frames import squashing
from tcam_cache.datasets.listing import folders_below
from tcam_cache.datasets.video import time_of
from tcam_cache.datasets.video_file import is_video
from tcam_cache.devices import worker_count
from tcam_cache.errors import ConfigError, FrameError
from tcam_cache.evaluation.report.pictures import draw_boxes, overlay_cam, save_image
from tcam_cache.inference import Localizer
from tcam_cache.inference.boxes_folder import BoxesFolder
from tcam_cache.inference.formats.tools import frame_rate
from tcam_cache.inference.formats.video import drawn, write_video
from tcam_cache.inference.formats.writing import write_formats
from tcam_cache.inference.maps import FrameMap, box_of
from tcam_cache.models import weights_hash
from tcam_cache.progress import progress_bar
from tcam_cache.records import Box, FrameSource, Shot

logger = logging.getLogger(__name__)

VIDEO = "boxes.mp4"


@dataclass(frozen=True)
class PredictReport:
    """The result of a prediction.

    Attributes:
        out: the folder with boxes.csv and, when asked for, overlays.
        frames: number of processed frames.
        boxes: number of boxes; at most one per frame.
        threshold: the tau used.
        ms_per_frame: wall time.
        files: in other formats, and the video; paths below `out`.
    """

    out: str
    frames: int
    boxes: int
    threshold: float
    ms_per_frame: float
    files: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as a line or two."""
        line = (
            f"{self.out}/boxes.csv: {self.boxes} boxes in {self.frames} frames at tau {self.threshold:.3f}, "
            f"{self.ms_per_frame:.0f} ms a frame"
        )
        return f"{line}\n  beside it: {', '.join(self.files)}" if self.files else line


def predict(config: PredictConfig) -> PredictReport:
    """Find the object in every picture of a folder, in one picture, or in every frame of a video file.

    Rows are written at once. After an interruption the same call resumes.

    Raises:
        FrameError: there is no image, or frames cannot be read: all are listed, after the rows of all other
            frames are written.
        RunError: the folder holds boxes of another input, run or setting, and `overwrite` is not set.
    """
    localizer = Localizer.open(config.run, config.device).mixing(config.mix)
    tau = _threshold(config, localizer)
    stored, shot = _input(config)
    source = squashing(stored, localizer.classifier.preprocessing.interpolation)
    places = _places(source, shot)
    settings = _settings(config, localizer, tau)
    folder = BoxesFolder.begin(config.out, _stamps(source, shot), settings, config.overwrite)
    faults: list[str] = []
    _measure(folder, source, shot, places)
    left = [(shot, t) for t, name in enumerate(shot.frames) if name not in folder.rows]
    began = time.perf_counter()
    maps = _maps(config, localizer, source, left, faults)
    with folder, progress_bar(len(shot), "boxes", "frame", done=len(shot) - len(left)) as bar:
        for item in maps:
            box = box_of(item.scores, (item.width, item.height), tau)
            name = item.shot.frames[item.t]
            if config.overlays:
                _draw(source, item, box, config.out / folder.pictures[name])
            folder.add(_found(places[name], item, box, localizer.classifier.classes))
            bar.update()
    seconds = time.perf_counter() - began
    files = write_formats(folder, config.formats, localizer.classifier.classes, source, shot, stored.root)
    if config.video and folder.rows:
        _write_video(config, localizer, folder, source, shot)
        files.append(VIDEO)
    if faults:
        raise FrameError(
            f"{len(faults)} of {len(shot)} frame(s) cannot be read and have no row; the boxes of all others "
            f"are in {config.out / ROWS}. Replace them and run the same command again, or do without.",
            faults,
        )
    box_count = sum(found.box is not None for found in folder.rows.values())
    each = round(1000 * seconds / max(1, len(left)), 2)
    return PredictReport(str(config.out), len(folder.rows), box_count, tau, each, tuple(files))


def _maps(
    config: PredictConfig,
    localizer: Localizer,
    source: FrameSource,
    frames: Sequence[ShotFrame],
    faults: list[str],
) -> Iterator[FrameMap]:
    workers = worker_count(config.workers)
    return localizer.maps(frames, source, batch_size=config.batch_size, workers=workers, faults=faults)


def _settings(config: PredictConfig, localizer: Localizer, tau: float) -> dict[str, Any]:
    """Return all settings that a row depends on."""
    return {
        "input": str(config.source.absolute()),
        "decoder": weights_hash(localizer.decoder.state_dict()),
        "encoder": localizer.classifier_file.hashes()["best_classification"],
        "threshold": tau,
        "batch_size": config.batch_size,
        "mix": localizer.config.mix,
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
        logger.info("%s has no threshold from val: boxes are taken at tau %g", config.run, localizer.tau)
    return localizer.tau


def _input(config: PredictConfig) -> tuple[VideoFrames | ImageFrames, Shot]:
    path, own = config.source, tuple(f"{name}/" for name in PICTURE_FOLDERS)
    moving = is_moving(path)
    if config.video and not moving:
        raise ConfigError(f"{path} is no video: --video writes a clip again. Leave it out.")
    if config.video and path.absolute() == (config.out / VIDEO).absolute():
        raise ConfigError(f"the video would be written over {path}. Give another --out.")
    if moving:
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


def _places(source: FrameSource, shot: Shot) -> dict[str, FoundBox]:
    """Return for each frame, by name, a row that says where it is and nothing of what is in it."""
    moving, places, counts = isinstance(source, VideoFrames), {}, Counter[str]()
    for frame in shot.frames:
        video, _, name = (shot.folder, "", frame) if moving else frame.rpartition("/")
        seconds = time_of(frame) / 1000 if moving else None
        places[frame] = FoundBox(video, counts[video], name, seconds, 0, 0, "", 0.0, None, 0.0)
        counts[video] += 1
    return places


def _measure(folder: BoxesFolder, source: FrameSource, shot: Shot, places: Mapping[str, FoundBox]) -> None:
    """Complete the rows of an earlier version, which do not say where their frames are, nor their sizes."""
    for t, name in enumerate(shot.frames):
        row = folder.rows.get(name)
        if row is not None and not row.width:
            frame, place = source.read(shot, t), places[name]
            row = row._replace(video=place.video, number=place.number, name=place.name, time=place.time)
            folder.rows[name] = row._replace(width=frame.width, height=frame.height)


def _found(place: FoundBox, item: FrameMap, box: Box | None, classes: Sequence[str]) -> FoundBox:
    exponents = np.exp(item.logits - item.logits.max())
    best = int(exponents.argmax())
    decoded = dict(item.parts).get("decoder", item.scores)
    return place._replace(
        width=item.width,
        height=item.height,
        tag=classes[best],
        probability=float(exponents[best] / exponents.sum()),
        box=box,
        score=float(decoded.max()),
    )


def _write_video(
    config: PredictConfig, localizer: Localizer, folder: BoxesFolder, source: FrameSource, shot: Shot
) -> None:
    """Write the clip again; maps are not stored, so that for them the frames pass the networks once more."""
    found = {one.frame: one for one in folder.found()}
    frames = [(shot, t) for t, name in enumerate(shot.frames) if name in found]
    if config.map:
        maps = ((item.t, item.scores) for item in _maps(config, localizer, source, frames, []))
    else:
        maps = ((t, None) for _, t in frames)

    def pictures() -> Iterator[tuple[int, np.ndarray]]:
        """Yield each frame's time in milliseconds and its picture with box and map."""
        with progress_bar(len(frames), "video", "frame") as bar:
            for t, scores in maps:
                name = shot.frames[t]
                yield time_of(name), drawn(source.read(shot, t).pixels, found[name], scores)
                bar.update()

    write_video(config.out / VIDEO, config.source, pictures(), frame_rate(list(found.values())))


def _draw(source: FrameSource, item: FrameMap, box: Box | None, path: Path) -> None:
    picture = overlay_cam(source.read(item.shot, item.t).pixels, item.scores)
    save_image(path, draw_boxes(picture, [box] if box else []))
