"""Before stage 0: index a data set in place, and optionally check every frame."""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from tcam_cache.config import ManifestConfig
from tcam_cache.datasets import (
    FOLLOW_LINKS,
    CheckReport,
    Manifest,
    Scan,
    check_frames,
    detect_layout,
    deviations,
    index_folders,
    read_annotations,
    read_video_splits,
    refuse_links_out,
    sample,
    scan_videos,
    scan_wsol,
    scan_ytov1,
    scan_ytov2_2,
    with_splits,
    write_manifest,
    write_wsol,
)
from tcam_cache.errors import AnnotationError
from tcam_cache.records import SPLITS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ManifestReport:
    """The result of indexing.

    Attributes:
        manifest: the file.
        digest: of shots, tags and frames; caches store it.
        classes: tags.
        splits: for each split the number of videos, shots, frames and boxes.
        check: the result of decoding every frame, or None.
        left_out: skipped unreadable videos and frames, one text each, with `skip_broken`.
    """

    manifest: str
    digest: str
    classes: tuple[str, ...]
    splits: dict[str, dict[str, int]]
    check: CheckReport | None
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {**asdict(self), "check": self.check.to_json() if self.check else None}

    def to_text(self) -> str:
        """Return the report as a few lines."""
        lines = [f"{self.manifest}: {len(self.classes)} classes ({', '.join(self.classes)})"]
        for split, counts in self.splits.items():
            lines.append(f"  {split:5}  " + ", ".join(f"{count} {what}" for what, count in counts.items()))
        if self.left_out:
            lines.append(f"  {len(self.left_out)} broken video(s) and frame(s) left out:")
            lines += [f"    {text}" for text in self.left_out]
        return "\n".join([*lines, *([self.check.to_text()] if self.check else [])])


def index_dataset(config: ManifestConfig) -> ManifestReport:
    """Write the manifest of a data set, sampled by the settings; with `check`, decode every frame first.

    With `skip_broken`, every frame is decoded, too, and unreadable ones are left out and listed.

    Raises:
        ManifestError: the folder is missing, empty, not whole, contradicts itself or holds links out of it
            that are not to be followed; with `check`, it differs from what is published of its layout, and
            the manifest is written all the same.
        AnnotationError: boxes do not fit the frames.
        FrameError: `check` found frames that cannot be read; all are listed, the manifest is written.
    """
    if config.layout is None:
        config = replace(config, layout=detect_layout(config.source))
    scan = _scan(config)
    left_out: tuple[str, ...] = ()
    if config.skip_broken:
        # Videos are decoded by their scan already.
        unreadable = {} if config.layout == "videos" else check_frames(scan, config.workers).broken
        scan = scan.without(unreadable)
        left_out = tuple(f"{path}: {reason}" for path, reason in scan.broken.items())
    if config.annotations:
        scan = _annotated(scan, config.annotations, config.check)
    if config.layout != "videos":
        scan = scan.with_depth()
    if config.follow_links:
        scan = replace(scan, facts={**scan.facts, FOLLOW_LINKS: True})
    else:
        refuse_links_out(scan.root, scan.shots, frames=True)
    if config.splits and config.layout != "wsol":
        scan = scan.with_splits(read_video_splits(config.splits), config.splits)
    if not config.split:
        scan = replace(scan, shots=with_splits(scan.shots, {}), splits={})
    wrong = (*scan.faults, *deviations(scan, splits_too=config.splits is None)) if config.check else ()
    if config.check and scan.faults:
        check_frames(scan, config.workers, wrong).raise_if_broken()
    manifest = sample(
        scan.manifest(), config.every, config.max_per_shot, config.fraction, config.seed, config.fps
    )
    _log_hints(config, manifest)
    write_manifest(manifest, config.out)
    if config.write_splits:
        write_wsol(manifest, config.write_splits)
    check = check_frames(manifest, config.workers, wrong) if config.check else None
    if check:
        check.raise_if_broken()
    return ManifestReport(
        str(Path(config.out)), manifest.digest(), manifest.classes, split_counts(manifest), check, left_out
    )


def _log_hints(config: ManifestConfig, manifest: Manifest) -> None:
    """Log what a user may not expect: videos kept apart that nothing scores, and frames beyond a limit."""
    held_out = len({shot.video for shot in manifest.shots if shot.split != "train"})
    if held_out and not any(shot.boxes for shot in manifest.shots):
        logger.info(
            "%d video(s) are kept for val and test, and there are no boxes to score them by: with --no-split "
            "every video is learned from",
            held_out,
        )
    beyond = sum(len(shot) > (config.max_per_shot or len(shot)) for shot in manifest.shots)
    if beyond:
        logger.info(
            "%d shot(s) keep more than --max-per-shot %d frames: all their annotated ones",
            beyond,
            config.max_per_shot,
        )


def _scan(config: ManifestConfig) -> Scan:
    source, orientation = config.source, config.pixels_are
    if config.layout == "ytov1":
        return scan_ytov1(source, orientation)
    if config.layout == "ytov2.2":
        return scan_ytov2_2(source, orientation)
    if config.layout == "wsol":
        return scan_wsol(source, cast(Path, config.splits), orientation)
    if config.layout == "videos":
        return scan_videos(source, config.shots, config.seed, config.workers, orientation)
    return index_folders(source, config.seed, orientation)


def _annotated(scan: Scan, path: Path, check: bool) -> Scan:
    annotations = read_annotations(path)
    try:
        return scan.annotated(annotations)
    except AnnotationError as error:
        if not (check or scan.faults):
            raise
        # They are reported together with the other faults, and with the frames that cannot be read.
        return scan.with_faults(error.offenders)


def split_counts(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Return the number of videos, shots, frames and boxes of each split that is not empty."""
    counts = {}
    for split in SPLITS:
        shots = manifest.split(split)
        if shots:
            counts[split] = {
                "videos": len({shot.video for shot in shots}),
                "shots": len(shots),
                "frames": sum(map(len, shots)),
                "boxes": sum(len(boxes) for shot in shots for boxes in shot.boxes.values()),
            }
    return counts
