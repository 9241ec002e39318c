"""Layouts of tagged video on disk, one module per layout, and the result of scanning them."""
