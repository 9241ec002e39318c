"""Names of numbered classes, from YAML and from paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets.layouts.class_names import class_names, class_text, names_in_paths
from tcam_cache.errors import ManifestError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("'1': 0\n\"yes\": 1\n# spare: 2\n", ["1", "yes"]),
        ("no: 0\nnull: 1\n1.0: 2\n", ["no", "null", "1.0"]),
        ("{sea bird: 1, aeroplane: 0,\n  'a: b, c': 2}\n", ["aeroplane", "sea bird", "a: b, c"]),
        ("0: cat\n1: dog # not 'god'\n", ["cat", "dog"]),
        ('- cat\n- "dog"\n', ["cat", "dog"]),
        ("--- \ncafe\u0301: 0\n...\n", ["caf\u00e9"]),
    ],
)
def test_a_class_list_is_read_as_yaml_and_every_name_is_text(text, names):
    found = class_names(text, "class_id.yaml")
    assert [found[number] for number in sorted(found)] == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat: [0", "class_id.yaml is not a list of classes"),
        ("", "neither a mapping nor a list"),
        ("names:\n  cat: 0\n", "line 2 holds more than one value"),
        ("cat: first\n", "one name and one number"),
        ("cat: 0\ncat: 1\n", "one name and one number"),
        ("cat: 0\ndog: 0\n", "one name and one number"),
    ],
)
def test_a_list_that_is_none_is_refused_by_name(text, said):
    with pytest.raises(ManifestError, match=said):
        class_names(text, "class_id.yaml")


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip)


@given(st.lists(NAMES, min_size=1, unique=True))
def test_what_is_written_reads_back_the_same(names):
    import unicodedata

    names = list(dict.fromkeys(unicodedata.normalize("NFC", name) for name in names))
    text = class_text({name: number for number, name in enumerate(names)})
    assert class_names(text, "class_id.yaml") == dict(enumerate(names))


def test_folders_of_splits_name_no_class(tmp_path):
    faults = []
    labels = {"val": {"val/01226z/a.jpg": 0, "val/0138tl/b.jpg": 1}, "test": {"test/01226z/c.jpg": 0}}
    assert names_in_paths(tmp_path, labels, faults) == {0: "01226z", 1: "0138tl"} and not faults


def test_pictures_whose_folders_tell_no_class_leave_the_numbers_as_names(tmp_path, caplog):
    faults = []
    labels = {
        "train": {"train/n01/n01_1.JPEG": 65},
        "test": {"val/ILSVRC2012_val_00000001.JPEG": 65, "val/2.JPEG": 3},
    }
    assert names_in_paths(tmp_path, labels, faults) == {65: "65", 3: "3"} and not faults
    assert "numbers are their names" in caplog.text


def test_a_class_called_train_is_no_split(tmp_path):
    labels = {"val": {"train/video-1/shot-1/1.jpg": 9, "bird/video-1/shot-1/1.jpg": 1}}
    assert names_in_paths(tmp_path, labels, []) == {9: "train", 1: "bird"}


def test_two_numbers_of_one_folder_ask_for_names(tmp_path):
    faults = []
    names_in_paths(tmp_path / "class_id.yaml", {"val": {"a/1/1.jpg": 0, "a/2/1.jpg": 1}}, faults)
    assert "classes 0, 1 have one name, a: name them in" in faults[0]
