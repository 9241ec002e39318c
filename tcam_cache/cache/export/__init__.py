"""Export a cache: to one HDF5 file, to a folder, to an xarray dataset."""
