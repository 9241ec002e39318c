"""`tcam-cache evaluate`."""

from typing import Any

from tcam_cache.config import EvaluateConfig

from .options import stage_command


@stage_command(EvaluateConfig, "manifest")
def command(config: EvaluateConfig) -> Any:
    """Stage 3: score a run, or the cached CAMs, against true boxes.

    \b
    tcam-cache evaluate m.jsonl --run run --out report
    """
    from tcam_cache.stages.evaluate import evaluate

    return evaluate(config)
