"""Tests of published tables beside ours: every figure, ours in its row, where it was published."""

import numpy as np
import pytest

from tcam_cache.config.tables import TABLES
from tcam_cache.evaluation import published, tables_beside
from tcam_cache.evaluation.compare import Comparison, Estimate, SystemScores
from tcam_cache.evaluation.published import youtube_objects_classes
from tcam_cache.evaluation.report.beside import figures
from tcam_cache.evaluation.systems import Spread


def comparison(table, classes, names=None):
    """Return a comparison in which the k-th row of a table has 50 + k, and class c of it 10 c + k."""
    rows = [row.system for row in TABLES[table].rows]
    systems = []
    for k, name in enumerate(rows):
        estimate = Estimate(Spread(50.0 + k, 1.5, 3), (45.0, 60.0))
        measures = {"corloc_0.5": estimate, "cl_accuracy": estimate}
        per_class = {tag: Spread(10.0 * c + k, None, 1) for c, tag in enumerate(classes)}
        systems.append(SystemScores(name, (name,), "layercam", "val", measures, per_class, {}, None))
    kept = tuple(system for system in systems if names is None or system.name in names)
    return Comparison("test", "wsol", 11, 3, None, 100, 0, kept)


def rows_of(table):
    return {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}


def test_every_published_system_stands_in_table_1_with_ours_beside():
    averages, *_ = tables_beside("table1", comparison("table1", ["bird"]), ["bird"])
    rows = rows_of(averages)
    assert set(rows) == {row.method for dataset in ("ytov1", "ytov2.2") for row in published(dataset)}
    tcam, colocam = rows["TCAM"], rows["CoLo-CAM, mean of 30 runs"]
    v1, v2 = "YouTube-Objects v1", "YouTube-Objects v2.2"
    assert (tcam[v1], tcam[v2], tcam["here"], tcam["95 % interval"]) == (
        "73.0",
        "72.2",
        "56.0 ± 1.5",
        "[45.0, 60.0]",
    )
    assert (rows["CoLo-CAM"][v1], rows["CoLo-CAM"][v2]) == ("82.1", "77.1")
    assert (colocam[v1], colocam[v2], colocam["here"]) == ("78.7 ± 1.7", "71.8 ± 1.7", None)
    assert (rows["TrCAM-V (CLIP)"][v1], rows["TrCAM-V (CLIP)"][v2]) == ("84.8", "76.7")
    assert (rows["TrCAM-V (CLIPSeg)"][v1], rows["TrCAM-V (CLIPSeg)"][v2]) == ("83.8", "80.0")
    assert rows["POD"][v2] is None and rows["BasicU-Net iter2"][v1] is None
    assert "Another data set" in averages.note and "11 frames of 3 video(s)" in averages.note


@pytest.mark.parametrize("table", TABLES)
def test_every_figure_says_where_it_was_published(table):
    averages, *_ = tables_beside(table, comparison(table, ["bird"]), ["bird"])
    rows = rows_of(averages)
    assert set(figures(table)) <= set(rows)
    assert all(rows[system]["published in"] for system in figures(table))
    assert {row.system for row in TABLES[table].rows} <= set(rows)


def test_what_was_read_at_second_hand_and_what_systems_learned_from_is_said():
    *_, sources = tables_beside("table1", comparison("table1", ["bird"]), ["bird"])
    rows = rows_of(sources)
    clip, seg = rows["TrCAM-V (CLIP)"], rows["TrCAM-V (CLIPSeg)"]
    assert clip["read in"] == seg["read in"] == "second hand: a survey"
    assert "test CorLoc" in clip["note"] and "masks" in seg["learned from"]
    assert rows["TCAM"]["learned from"] == "tags; ImageNet weights"


@pytest.mark.parametrize(
    ("layout", "titles"),
    [
        ("ytov1", ["By class, YouTube-Objects v1"]),
        ("ytov2.2", ["By class, YouTube-Objects v2.2"]),
        ("folders", ["By class, YouTube-Objects v1", "By class, YouTube-Objects v2.2"]),
    ],
)
def test_ours_stands_by_class_below_the_published_row_of_the_data_set_that_is_known(layout, titles):
    classes = youtube_objects_classes()
    _, *by_class, _ = tables_beside("table1", comparison("table1", classes), classes, layout)
    assert [table.title for table in by_class] == titles
    lines = list(by_class[0].rows)
    at = next(number for number, line in enumerate(lines) if line[0] == "TCAM")
    assert lines[at + 1] == ("TCAM, here", *(10.0 * c + 6 for c in range(10)), "56.0 ± 1.5")
    assert np.mean(lines[at][1:11]) == pytest.approx(float(lines[at][-1]), abs=0.1)
    unknown = next(line for line in lines if line[0] == "TrCAM-V (CLIP)")
    assert set(unknown[1:11]) == {None}


def test_classes_of_another_data_set_are_not_put_among_the_published_ones():
    _, first, second, _ = tables_beside("table1", comparison("table1", ["bird"]), ["bird"], "folders")
    assert not any("here" in str(row[0]) for row in (*first.rows, *second.rows)) and "table.md" in first.note


def test_a_system_without_a_number_is_a_dash():
    averages, *_ = tables_beside("table3", comparison("table3", ["bird"], {"LayerCAM"}), ["bird"])
    rows = rows_of(averages)
    assert rows["LayerCAM"]["here"] == "50.0 ± 1.5" and rows["C+ C-"]["here"] is None
    assert [row["YouTube-Objects v1"] for row in rows.values()] == [
        "65.6", "68.5", "69.6", "66.2", "70.5", "73.0",
    ]  # fmt: skip


def test_fig_3_has_the_two_published_points_and_says_what_the_curve_shows():
    (table,) = tables_beside("fig3", comparison("fig3", ["bird"]), ["bird"])
    said = {name: row["YouTube-Objects v1"] for name, row in rows_of(table).items()}
    assert said == {"n 0": "70.5", "n 1": "73.0", **{f"n {n}": None for n in range(2, 11)}}
    assert "best at n = 1" in table.note


def test_table_2_is_cl():
    (table,) = tables_beside("table2", comparison("table2", ["bird"]), ["bird"])
    rows = rows_of(table)
    assert len(rows) == 7 and rows["XGrad-CAM"]["YouTube-Objects v1"] == "87.3"
    assert (rows["TCAM"]["YouTube-Objects v2.2"], rows["TCAM"]["here"]) == ("72.1", "51.0 ± 1.5")
