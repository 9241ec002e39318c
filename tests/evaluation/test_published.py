"""The shipped tables: transcribed right, and read from the installed package."""

import pytest

from tcam_cache.errors import ConfigError
from tcam_cache.evaluation import published, published_ablation
from tcam_cache.evaluation.published import is_youtube_objects, youtube_objects_classes


@pytest.mark.parametrize(
    ("dataset", "averages"),
    [
        ("ytov1", {"CAM": 50.1, "Grad-CAM": 56.4, "Grad-CAM++": 63.2, "Smooth Grad-CAM++": 57.1,
                   "XGrad-CAM": 56.7, "LayerCAM": 65.6, "TCAM": 73.0, "CoLo-CAM": 82.1}),
        ("ytov2.2", {"CAM": 51.5, "Grad-CAM": 54.5, "Grad-CAM++": 61.2, "Smooth Grad-CAM++": 59.5,
                     "XGrad-CAM": 54.6, "LayerCAM": 66.0, "TCAM": 72.2, "CoLo-CAM": 77.1}),
    ],
)  # fmt: skip
def test_the_published_averages_are_the_papers(dataset, averages):
    rows = {row.method: row.average for row in published(dataset)}
    assert {method: rows[method] for method in averages} == averages


@pytest.mark.parametrize(("dataset", "count"), [("ytov1", 29), ("ytov2.2", 19)])
def test_every_row_has_every_class_and_its_average_is_their_mean(dataset, count):
    rows, classes = published(dataset), youtube_objects_classes()
    assert len(rows) == count
    averages = [row.method for row in rows if not row.corloc]
    assert averages == ["CoLo-CAM, mean of 30 runs", "TrCAM-V (CLIP)", "TrCAM-V (CLIPSeg)"]
    rows = rows[:-3]
    # Printed as 65.8 with classes that average 66.2; kept as printed.
    odd = {row.method for row in rows if abs(sum(row.corloc.values()) / len(classes) - row.average) > 0.1}
    assert odd == ({"FPPVOS"} if dataset == "ytov1" else set())
    assert all(set(row.corloc) == set(classes) for row in rows)


def test_classification_accuracy_and_times_stand_beside_their_rows():
    tcam = {row.method: row for row in published("ytov2.2")}["TCAM"]
    assert (tcam.cl, tcam.time_per_frame, tcam.corloc["bird"]) == (72.1, "18.5 ms", 94.9)
    assert {row.method: row.cl for row in published("ytov1")}["POD"] is None


def test_later_systems_stand_with_what_is_known_of_them():
    rows = [{row.method: row for row in published(dataset)} for dataset in ("ytov1", "ytov2.2")]
    runs = [of["CoLo-CAM, mean of 30 runs"] for of in rows]
    assert [row.average_text for row in runs] == ["78.7 ± 1.7", "71.8 ± 1.7"]
    assert [of["TrCAM-V (CLIP)"].average for of in rows] == [84.8, 76.7]
    assert [of["TrCAM-V (CLIPSeg)"].average for of in rows] == [83.8, 80.0]
    assert "second hand" in rows[0]["TrCAM-V (CLIP)"].source and "CLIP" in rows[0]["CLIP-ES"].learned_from
    assert (rows[0]["POD"].learned_from, rows[0]["POD"].std) == ("", None)


def test_the_ablation_is_table_3():
    assert list(published_ablation().values()) == [65.6, 68.5, 69.6, 66.2, 70.5, 73.0]


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"ytov1, ytov2\.2"):
        published("imagenet")


def test_the_classes_tell_youtube_objects():
    classes = youtube_objects_classes()
    assert classes[0] == "aeroplane" and len(classes) == 10
    assert is_youtube_objects(reversed(classes)) and not is_youtube_objects(classes[1:])
