"""tcam_cache: cached temporal class activation maps, and the decoder trained on them (TCAM, WACV 2023).

Conventions, the same everywhere: tensors are NCHW, HWC uint8 only at decode and overlay; map channel 0 is
background, 1 foreground; windows run oldest to newest; boxes are x0, y0, x1, y1 in pixels of the original
frame, right and bottom exclusive.

Each command has a function of its own here: `tcam_cache.build_cache(BuildConfig(...))`, and so on.

`__init__.pyi` lists the public names. Each is imported on first use: torch is not imported before a stage
that needs it.
"""

import lazy_loader

from tcam_cache.version import __version__

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
# The stub lists them all.
__all__ = ["__version__", *_names]  # pyright: ignore[reportUnsupportedDunderAll]
