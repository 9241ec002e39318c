"""Facts about the data sets that ship with the package, as JSON and CSV."""
