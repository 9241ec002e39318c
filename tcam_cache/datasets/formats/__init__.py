"""Readers of the formats in which other programs keep boxes."""
