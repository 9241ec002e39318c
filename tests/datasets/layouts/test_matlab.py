import numpy as np
import pytest

from tcam_cache.datasets.layouts.matlab import read_variable
from tcam_cache.errors import ManifestError


@pytest.fixture(params=[5, 7.3], ids=["mat5", "mat7.3"])
def both(request, tmp_path, write_mat):
    """Return a function that writes a value in either version and reads it back."""

    def there_and_back(value):
        write_mat(tmp_path / "a.mat", "value", value, request.param)
        return read_variable(tmp_path / "a.mat", "value")

    return there_and_back


def test_an_array_keeps_the_shape_that_matlab_shows(both):
    value = np.array([[1, 2, 3], [4, 5, 6]], np.uint16)
    assert np.array_equal(both(value), value)


def test_a_cell_is_a_list(both):
    found = both([np.array([[1.0, 2, 3, 4]]), np.array([[5.0, 6, 7, 8]])])
    assert [item.flatten().tolist() for item in found] == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize("count", [1, 3])
def test_a_struct_array_is_a_list_of_dicts(both, count):
    found = both([{"im": f"cow{n:08d}", "bb": np.full((n + 1, 4), n)} for n in range(count)])
    assert [entry["im"] for entry in found] == [f"cow{n:08d}" for n in range(count)]
    assert [entry["bb"].tolist() for entry in found] == [[[n] * 4] * (n + 1) for n in range(count)]


def test_a_cell_of_matlab_order_runs_down_the_columns(tmp_path, write_mat):
    from scipy.io import savemat

    cell = np.empty((2, 2), object)
    for number, location in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        cell[location] = np.array([[number]])
    savemat(tmp_path / "a.mat", {"value": cell})
    assert [int(item[0, 0]) for item in read_variable(tmp_path / "a.mat", "value")] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"id,x0,y0\n" * 99, "is not a MATLAB file"),
        (b"PK\x03\x04", "is not a MATLAB file"),
    ],
)
def test_a_file_that_is_no_matlab_file_is_named(tmp_path, content, said):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ManifestError, match=rf"a\.mat {said}"):
        read_variable(tmp_path / "a.mat", "coor")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"a\.mat: No such file"):
        read_variable(tmp_path / "a.mat", "coor")


@pytest.mark.parametrize("version", [5, 7.3])
def test_a_missing_variable_is_named(tmp_path, write_mat, version):
    write_mat(tmp_path / "a.mat", "other", np.ones((1, 1)), version)
    with pytest.raises(ManifestError, match=r"a\.mat has no variable 'coor'"):
        read_variable(tmp_path / "a.mat", "coor")


@pytest.mark.parametrize("version", [5, 7.3])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_cut_short_is_named(tmp_path, write_mat, version, share):
    write_mat(tmp_path / "a.mat", "coor", [np.ones((1, 4))] * 40, version)
    whole = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ManifestError, match=r"a\.mat (is a damaged MATLAB file|has no variable)"):
        read_variable(tmp_path / "a.mat", "coor")
