"""A cache in other forms: one HDF5 file, a folder again, an xarray data set."""
