"""Copy the finished shots of a cache, such as an HDF5 file, into a cache folder."""

from tcam_cache.cache.contents import Contents, finished_shots, iter_verified_shots
from tcam_cache.cache.format import STAT_COLUMNS
from tcam_cache.cache.writer import CamWriter
from tcam_cache.files import Place
from tcam_cache.progress import progress_bar
from tcam_cache.records import ShotCams


def copy_cache(contents: Contents, path: Place) -> None:
    """Write the finished shots of a cache into a cache folder; see `CamCache.to_zarr`."""
    commits = finished_shots(contents)
    attachments = {name: contents.attachment(name) for name in contents.marker.attachments}
    writer = CamWriter.create(path, contents.plan, attachments)
    pending_ids = {shot.id for shot in writer.pending()}
    left = {at: commit for at, commit in commits.items() if commit.shot in pending_ids}
    with progress_bar(sum(commit.frames for commit in left.values()), "copying the CAMs", "frame") as bar:
        for at, maps, stats in iter_verified_shots(contents, left):
            raw_min, raw_max, flat = stats[:, : len(STAT_COLUMNS)].T
            cams = ShotCams(maps, raw_min, raw_max, flat > 0, stats[:, len(STAT_COLUMNS) :])
            writer.write(contents.index.ids[at], cams)
            bar.update(len(maps))
