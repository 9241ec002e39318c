"""Write everything finished of one cache, such as an HDF5 file, into a folder as a build makes it."""

from pathlib import Path

from tcam_cache.cache.checked import checked_shots, finished_shots
from tcam_cache.cache.contents import Contents
from tcam_cache.cache.layout import STAT_COLUMNS, CachePlan
from tcam_cache.cache.writer import CamWriter
from tcam_cache.progress import progress_bar
from tcam_cache.records import Shot, ShotCams


def copy_cache(contents: Contents, path: Path | str) -> None:
    """Write the finished shots of a cache into a folder; see `CamCache.to_zarr`."""
    commits, marker = finished_shots(contents), contents.marker
    plan = CachePlan(marker.classes, _shots(contents), marker.map_size, marker.settings, marker.recorded)
    attachments = {name: contents.attachment(name) for name in marker.attachments}
    writer = CamWriter.create(path, plan, attachments)
    wanted = {shot.id for shot in writer.pending()}
    left = {at: commit for at, commit in commits.items() if commit.shot in wanted}
    with progress_bar(sum(commit.frames for commit in left.values()), "copying the CAMs", "frame") as bar:
        for at, maps, stats in checked_shots(contents, left):
            raw_min, raw_max, flat = stats[:, : len(STAT_COLUMNS)].T
            cams = ShotCams(maps, raw_min, raw_max, flat > 0, stats[:, len(STAT_COLUMNS) :])
            writer.write(contents.index.ids[at], cams)
            bar.update(len(maps))


def _shots(contents: Contents) -> tuple[Shot, ...]:
    """Return the shots as far as a cache knows them: how many frames they have, not what these are called."""
    index = contents.index
    columns = zip(index.ids, index.tags, index.videos, index.splits, index.lengths, strict=True)
    return tuple(Shot(*names, folder="", frames=("",) * length) for *names, length in columns)
