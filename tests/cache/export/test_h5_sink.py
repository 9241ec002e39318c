"""Tests of the file that HDF5 writes to: what goes wrong is kept from HDF5, and raised afterwards."""

import io

import h5py
import numpy as np
import pytest

from tcam_cache.cache.export.h5 import Sink


class Raw(io.FileIO):
    """A file that takes a few bytes at a time and fails for good after some of them."""

    def __init__(self, path, room, error):
        super().__init__(path, "w+")
        self.room, self.error = room, error

    def write(self, data):
        if self.room <= 0:
            raise self.error
        part = bytes(data[:1000])
        self.room -= len(part)
        return super().write(part)


@pytest.mark.parametrize("room", [0, 1, 3000, 20_000])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_while_hdf5_writes_or_closes_is_raised_afterwards(tmp_path, room, error):
    with Raw(tmp_path / "x.h5", room, error) as raw:
        sink = Sink(raw)
        with h5py.File(sink, "w") as file:
            file["a"] = np.arange(10_000)
            file.create_group("b").attrs["c"] = "d"
        with pytest.raises(type(error)):
            sink.settle()


def test_short_writes_are_completed_and_nothing_is_raised(tmp_path):
    with Raw(tmp_path / "x.h5", 10**9, None) as raw:
        sink = Sink(raw)
        with h5py.File(sink, "w") as file:
            file["a"] = np.arange(10_000)
        sink.settle()
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["a"][:].tolist() == list(range(10_000))
