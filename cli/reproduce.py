"""`tcam-cache reproduce`."""

from typing import Any

from tcam_cache.config import ReproduceConfig

from .locate import SECTIONS
from .options import stage_command


@stage_command(ReproduceConfig, "table", "manifest", sections=SECTIONS)
def command(config: ReproduceConfig) -> Any:
    """Make a table of the paper again: table1, table2, table3 or fig3.

    All runs that it needs, and the published numbers beside. Run again, it goes on where it was interrupted;
    another table with the same --out uses what is there.

    \b
    tcam-cache reproduce table1 m.jsonl --out tables
    """
    from tcam_cache.stages.reproduce import reproduce

    return reproduce(config)
