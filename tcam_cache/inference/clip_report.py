"""The clips of `predict` as its report shows them: some frames with their boxes, and how sure these are."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.datasets.sampling import evenly_spaced
from tcam_cache.errors import FrameError
from tcam_cache.evaluation.report.footage import ReportedClip, write_footage_report
from tcam_cache.evaluation.report.pictures import draw_boxes
from tcam_cache.inference.boxes_folder import found_rows
from tcam_cache.inference.clips import Clip

REPORT = "report"
FRAMES = 6
# A page of more clips is slow to open; the least sure ones are those to look at.
MOST_CLIPS = 400


def write_clip_report(
    out: Path, clips: Sequence[Clip], title: str, lines: Sequence[str] = (), embed: bool = False
) -> Path:
    """Write the report of some clips whose boxes lie below `out`, and return the path of its page.

    Raises:
        StorageError: the file system refuses a write.
    """
    reports = (_reported(clip, list(found_rows(out / clip.name))) for clip in clips)
    shown = sorted((one for one in reports if one.frames), key=lambda one: (one.sureness, one.name))
    if len(shown) > MOST_CLIPS:
        lines = (*lines, f"Shown are the {MOST_CLIPS} least sure of {len(shown):,} clips.")
    return write_footage_report(out / REPORT, shown[:MOST_CLIPS], title, lines, embed)


def _reported(clip: Clip, rows: Sequence[FoundBox]) -> ReportedClip:
    tags = [row.tag for row in rows]
    name = clip.name.removesuffix(".boxes") or clip.path.name
    return ReportedClip(
        name,
        max(set(tags), key=tags.count) if tags else "",
        len(rows),
        sum(row.box is not None for row in rows),
        _values([row.confidence for row in rows]),
        _values([row.presence for row in rows]),
        partial(_strip, clip, rows),
    )


def _values(values: Sequence[float | None]) -> np.ndarray | None:
    """Return a value for each frame, NaN where there is none; None where no frame has one."""
    known = any(value is not None for value in values)
    return np.array([np.nan if value is None else value for value in values]) if known else None


def _strip(clip: Clip, rows: Sequence[FoundBox]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield evenly spaced frames and the least sure and surest one; one that cannot be read is left out."""
    shot, marks = replace(clip.shot, frames=tuple(row.frame for row in rows)), _extremes(rows)
    for t in sorted({*evenly_spaced(len(rows), FRAMES), *marks}):
        row = rows[t]
        try:
            pixels = clip.source.read(shot, t).pixels
        except FrameError:
            continue
        caption = Path(row.name).name if row.time is None else f"{row.time:.1f} s"
        yield f"{marks.get(t, '')}{caption}", draw_boxes(pixels, [row.box] if row.box else [])


def _extremes(rows: Sequence[FoundBox]) -> dict[int, str]:
    """Return the frames whose boxes are the least and the most sure, with what to say of each."""
    sure = {t: row.confidence for t, row in enumerate(rows) if row.confidence is not None}
    if len(set(sure.values())) < 2:
        return {}
    return {min(sure, key=sure.__getitem__): "least sure: ", max(sure, key=sure.__getitem__): "surest: "}
