"""`tcam-cache demo`."""

from typing import Any

from tcam_cache.config import DemoConfig

from .options import stage_command


@stage_command(DemoConfig, "out")
def command(config: DemoConfig) -> Any:
    """Write the embedded data set; run every stage on it, into OUT.

    \b
    tcam-cache demo out
    """
    from tcam_cache.stages.demo import run_demo

    return run_demo(config)
