"""Writers of found boxes in the formats of other programs."""
