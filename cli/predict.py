"""`tcam-cache predict`."""

from typing import Any

from tcam_cache.config import PredictConfig

from .options import stage_command


@stage_command(PredictConfig, "run", "source")
def command(config: PredictConfig) -> Any:
    """Draw boxes around the object in every INPUT, with a trained RUN.

    Interrupted, it goes on where it stopped.

    \b
    tcam-cache predict run clip.mp4 --out boxes
    tcam-cache predict run videos more/*.mp4 m.jsonl --out boxes --tag dog
    """
    from tcam_cache.stages.predict import predict

    return predict(config)
