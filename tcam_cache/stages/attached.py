"""What a cache keeps beside its maps: the classifier that made them, and the manifest of their frames.

Nothing here imports torch.
"""

from pathlib import Path

from tcam_cache.cache import CamCache
from tcam_cache.datasets import Manifest, parse_manifest

CLASSIFIER_NAME = "classifier.pt"
MANIFEST_NAME = "manifest.jsonl"


def attached_manifest(cache: CamCache, root: Path | None = None) -> Manifest:
    """Return the manifest that a cache was built from, sampled as it was.

    Args:
        cache: of any kind.
        root: where the data set lies now, if not where the manifest says.

    Raises:
        CacheError: the cache keeps none.
        ManifestError: the data set is not where it was.
    """
    return parse_manifest(cache.attachment(MANIFEST_NAME), f"{cache.path}/{MANIFEST_NAME}", root)


def frame_names(cache: CamCache, shot_id: str) -> tuple[str, ...]:
    """Return the file names of a shot's frames; the data set itself may be elsewhere, or gone."""
    return attached_manifest(cache, Path.cwd()).shot(shot_id).frames
