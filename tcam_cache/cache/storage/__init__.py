"""Storage of a cache: a folder, a URL or an HDF5 file, behind one interface."""
