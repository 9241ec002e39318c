"""`tcam-cache compare`."""

from typing import Any

from tcam_cache.config import CompareConfig

from .options import stage_command


@stage_command(CompareConfig, "reports")
def command(config: CompareConfig) -> Any:
    """Compare evaluations of the same frames, with intervals.

    Intervals are over videos. Runs that differ in --seed alone become a mean and a standard deviation.

    \b
    tcam-cache compare report_layercam report --baseline report_layercam --out comparison
    """
    from tcam_cache.stages.compare import compare

    return compare(config)
