"""Stage 1: frames and a source of maps become the maps of a shot in the cache, on one process or many."""
