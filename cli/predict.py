"""`tcam-cache predict`."""

from typing import Any

from tcam_cache.config import PredictConfig

from .options import stage_command


@stage_command(PredictConfig, "run", "source")
def command(config: PredictConfig) -> Any:
    """Draw boxes around the object in INPUT, with a trained RUN.

    \b
    tcam-cache predict run clip.mp4 --out boxes
    """
    from tcam_cache.stages.predict import predict

    return predict(config)
