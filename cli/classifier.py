"""`tcam-cache classifier`."""

from typing import Any

from tcam_cache.config import ClassifierConfig

from .options import stage_command


@stage_command(ClassifierConfig, "manifest")
def command(config: ClassifierConfig) -> Any:
    """Stage 0: fit the classifier on the tags of MANIFEST.

    \b
    tcam-cache classifier m.jsonl --out g.pt
    """
    from tcam_cache.stages.classifier import fit_classifier

    return fit_classifier(config)
