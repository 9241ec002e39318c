"""What the tables, the text, the CSV, the LaTeX and the picture of a comparison say."""

import csv
import io
import re

import numpy as np
import pytest
from PIL import Image

from tcam_cache.evaluation import (
    System,
    compare_systems,
    comparison_csv,
    comparison_tables,
    comparison_text,
    draw_comparison,
    to_latex,
    to_markdown,
)
from tcam_cache.evaluation.report.comparison import FIELDS

GOOD, POOR = (0.9, 0.6, 0.2, 0.8), (0.9, 0.2, 0.2, 0.1)


@pytest.fixture
def compared(make_report):
    """Return a maker of comparisons of systems, given as the IoUs of each of their runs by name."""

    def make(systems, baseline=None, **given):
        made = [
            System(name, tuple(make_report(f"{name}_{n}", ious, **given) for n, ious in enumerate(runs)))
            for name, runs in systems.items()
        ]
        return compare_systems(made, baseline, resamples=200)

    return make


@pytest.fixture
def comparison(compared):
    """CAMs that find one frame of four, and a decoder of two seeds that find three and four."""
    return compared({"cam": [POOR], "tcam_<&_50%": [GOOD, (0.9,) * 4]})


def test_tables_stand_in_reading_order(comparison):
    assert [table.title for table in comparison_tables(comparison)] == [
        "Systems", "Intervals over 3 videos", "Differences from cam", "CorLoc 0.5 by class",
        "CorLoc 0.5 by video",
    ]  # fmt: skip
    systems, intervals, differences, classes, videos = comparison_tables(comparison)
    assert systems.rows[1] == (
        "tcam_<&_50%", 2, "oracle", "91.7 ± 11.8", "91.7 ± 11.8", "83.3 ± 23.6", "83.3 ± 23.6",
        "0.762 ± 0.194", "75.0 ± 0.0", "62.5 ± 17.7", "4.0 ± 0.0",
    )  # fmt: skip
    assert "standard deviation over runs" in systems.note and "policies differ" not in systems.note
    assert [row[0] for row in intervals.rows] == ["cam", "tcam_<&_50%"]
    assert [row[0] for row in differences.rows] == ["tcam_<&_50%"]
    assert classes.rows == (("bird", "33.3", "83.3 ± 23.6"), ("cat", "0.0", "100.0 ± 0.0"))
    assert [row[0] for row in videos.rows] == ["bird/1", "bird/2", "cat/1"]
    assert "3 videos are few" in intervals.note and "3 videos are few" in differences.note


def test_a_star_stands_where_the_interval_leaves_0_out(compared):
    none, all_found = (0.0,) * 4, (0.9,) * 4
    (row,) = comparison_tables(compared({"none": [none], "all": [all_found]}))[2].rows
    assert row[:3] == ("all", "+100.0 [+100.0, +100.0] *", "+100.0 [+100.0, +100.0] *")
    (row,) = comparison_tables(compared({"none": [none], "all": [none]}))[2].rows
    assert row[1] == "+0.0 [+0.0, +0.0]"


def test_the_text_has_a_verdict_for_every_system_but_the_baseline(compared):
    text = comparison_text(compared({"none": [(0.0,) * 4], "all": [(0.9,) * 4], "same": [(0.1,) * 4]}))
    assert text.startswith("test: 4 frames of 3 video(s), boxes by components\n\nSystems\n")
    lines = text.partition("CorLoc 0.5 over 3 videos")[2].splitlines()
    verdicts = {line.split()[0]: line.split("  ")[-1].strip() for line in lines[2:5]}
    assert verdicts == {"none": "baseline", "all": "outside chance", "same": "within chance"}
    header = ["system", "CorLoc 0.5", "95 % interval", "from none", "95 % interval"]
    assert re.split(r" {2,}", lines[1].strip()) == header


def test_of_one_video_it_is_said_that_there_is_no_interval(compared):
    comparison = compared({"a": [GOOD], "b": [POOR]}, shots=["bird/1/1"] * 4)
    text = comparison_text(comparison)
    assert "One video: no interval, and no difference can be told from chance." in text and "[" not in text
    assert "One video: there is no interval." in comparison_tables(comparison)[0].note
    assert "[" not in to_latex(comparison_tables(comparison))
    assert Image.open(io.BytesIO(draw_comparison(comparison))).width == 700


def test_one_system_alone_has_intervals_and_no_difference(compared):
    comparison = compared({"tcam": [GOOD]})
    assert "Differences" not in to_markdown(comparison_tables(comparison))
    text = comparison_text(comparison)
    assert "95 % interval" in text and "baseline" not in text and "from" not in text


def test_policies_that_differ_are_told(make_report):
    from dataclasses import replace

    one, other = make_report("one"), make_report("other")
    other = replace(other, metrics=replace(other.metrics, threshold={"policy": "val", "value": 0.5}))
    comparison = compare_systems([System("one", (one,)), System("other", (other,))], resamples=100)
    assert "policies differ" in comparison_tables(comparison)[0].note


def test_the_csv_has_every_number_once(comparison):
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert tuple(rows[0]) == FIELDS
    keys = [(row["system"], row["measure"], row["group"], row["name"]) for row in rows]
    # Seven measures, ms a frame, two classes, three videos of each system.
    assert len(keys) == len(set(keys)) == 2 * (7 + 1 + 2 + 3)
    by_key = dict(zip(keys, rows, strict=True))
    row = by_key["tcam_<&_50%", "corloc_0.5", "all", ""]
    corloc = comparison.systems[1].measures["corloc_0.5"]
    assert [float(row[name]) for name in ("value", "std", "difference")] == pytest.approx(
        [corloc.value.mean, corloc.value.std, corloc.difference], abs=1e-6
    )
    assert (float(row["low"]), float(row["high"])) == corloc.interval
    assert (row["runs"], row["outside_chance"]) == ("2", str(int(corloc.outside_chance)))
    assert by_key["cam", "corloc_0.5", "class", "bird"]["value"] == "33.333333"
    assert by_key["cam", "corloc_0.5", "all", ""]["difference"] == ""


def test_a_name_is_escaped_in_every_form(comparison):
    tables = comparison_tables(comparison)
    assert "tcam\\_&lt;&amp;\\_50%" in to_markdown(tables)
    latex = to_latex(tables)
    assert "tcam\\_$<$\\&\\_50\\%" in latex
    # Outside of `&` between cells and the first line, no special character is left bare.
    for line in latex.splitlines()[1:]:
        assert not re.search(r"(?<!\\)[%#_~^]|±|–", line), line


def test_the_latex_has_as_many_cells_as_columns_and_closes_what_it_opens(comparison):
    latex = to_latex(comparison_tables(comparison))
    tabulars = re.findall(r"\\begin\{tabular\}\{(l r*)\}".replace(" ", ""), latex)
    bodies = latex.split("\\begin{tabular}")[1:]
    assert len(tabulars) == len(bodies) == 5
    for columns, body in zip(tabulars, bodies, strict=True):
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert rows and all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)
    for name in ("table", "tabular"):
        assert latex.count(f"\\begin{{{name}}}") == latex.count(f"\\end{{{name}}}") == 5


@pytest.mark.parametrize("name", ["[odd", "*odd"])
def test_a_row_that_starts_as_an_option_of_the_line_before_is_protected(compared, name):
    latex = to_latex(comparison_tables(compared({"cam": [POOR], name: [GOOD]})))
    assert f"\n{{}}{name} & 1" in latex


def test_the_picture_is_the_same_for_the_same_numbers_and_shows_every_system(comparison, compared):
    first = draw_comparison(comparison)
    assert first == draw_comparison(comparison)
    pixels = np.asarray(Image.open(io.BytesIO(first)).convert("RGB"))
    many = compared({f"system {n}": [GOOD] for n in range(9)})
    taller = np.asarray(Image.open(io.BytesIO(draw_comparison(many))).convert("RGB"))
    assert pixels.shape[1] == taller.shape[1] == 1000 and taller.shape[0] > 1.8 * pixels.shape[0]
    # Blue dots left; right vermilion where outside chance, as in every video of the first, and else grey.
    assert (pixels == (0, 114, 178)).all(axis=2).any() and (pixels == (213, 94, 0)).all(axis=2).any()
    assert not (taller == (213, 94, 0)).all(axis=2).any()


def test_matplotlib_is_loaded_by_the_picture_alone():
    import subprocess
    import sys

    script = "import sys, tcam_cache.stages.compare; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
