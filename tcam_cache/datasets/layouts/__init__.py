"""Tagged video as it lies on disk, one module a layout, and what a scan of it finds."""
