"""Where a cache lies: a folder, a URL, or an HDF5 file, behind one set of verbs."""
