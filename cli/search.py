"""`tcam-cache search`."""

from typing import Any

from tcam_cache.config import SearchConfig

from .options import stage_command
from .train import SECTIONS


def _with_grid(**settings: Any) -> SearchConfig:
    # A grid that cannot be read is wrong usage, as any other option's value is.
    from tcam_cache.config.grid import grid_runs

    config = SearchConfig(**settings)
    grid_runs(config)
    return config


@stage_command(SearchConfig, "manifest", make=_with_grid, sections=SECTIONS)
def command(config: SearchConfig) -> Any:
    """Stage 2 for every point of a grid; the best on val is named.

    The other options are what the grid lies around. Those that a preset sets show the value of `recommended`;
    one that is given wins over the preset.

    \b
    tcam-cache search m.jsonl --cache cache --out search --grid "lr=0.1,0.01 neighbours=0..2"
    """
    from tcam_cache.stages.search import search

    return search(config)
