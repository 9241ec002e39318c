"""What a report's folder holds, and that it holds it whole."""

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tcam_cache.errors import EvaluationError, StorageError
from tcam_cache.evaluation import Panel, from_csv, score, write_report
from tcam_cache.evaluation.published import youtube_objects_classes
from tcam_cache.evaluation.report.tables import classes_table, published_table, report_tables, to_markdown
from tcam_cache.records import Box

TAUS = np.array([0.0, 0.25, 0.5, 0.75])
NASTY = "<script>alert('&\")</script>"


class Page(HTMLParser):
    """The tags of a page, whether each is closed, and its text."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def evaluate(make_sweep):
    def evaluate(tags=("bird", "cat"), method="tcam", ious=(0.2, 0.6, 0.8, 0.0), **given):
        sweeps = [make_sweep(ious, tag=tag, shot=f"{tag}/1/1", t=t) for tag in tags for t in range(2)]
        return score(sweeps, "oracle", split="test", method=method, taus=TAUS, **given)

    return evaluate


def make_panel(tag="bird", hit=True):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    maps = [np.random.default_rng(seed).random((7, 7)) for seed in range(3)]
    return Panel(
        f"{tag}/1/1/0.jpg", tag, pixels, 40, *maps, (Box(0, 0, 10, 10),), Box(5, 5, 20, 20), 0.61, hit
    )


def test_the_folder_holds_the_contracts_files(tmp_path, evaluate):
    evaluation = evaluate()
    write_report(tmp_path / "report", evaluation, [make_panel(), make_panel(hit=False)])
    found = sorted(str(path.relative_to(tmp_path / "report")) for path in (tmp_path / "report").rglob("*.*"))
    assert found == [
        "frames.csv", "index.html", "metrics.json", "overlays/000.jpg", "overlays/001.jpg", "table.md",
    ]  # fmt: skip
    assert json.loads((tmp_path / "report/metrics.json").read_text()) == evaluation.metrics.to_json()
    assert from_csv((tmp_path / "report/frames.csv").read_text()) == evaluation.rows
    with Image.open(tmp_path / "report/overlays/000.jpg") as image:
        assert image.width > 4 * 300


def test_the_page_is_well_formed_asks_nothing_of_the_network_and_shows_every_picture(tmp_path, evaluate):
    write_report(
        tmp_path, evaluate(), [make_panel(), make_panel(hit=False)], {"LayerCAM": evaluate(method="l")}
    )
    text = (tmp_path / "index.html").read_text()
    page = Page(text)
    assert page.open == [] and not re.search(r"https?://|//\w", text.replace("<!doctype html>", ""))
    pictures = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert pictures == ["overlays/000.jpg", "overlays/001.jpg"] and all(
        (tmp_path / p).is_file() for p in pictures
    )
    words = " ".join(page.words)
    for word in ("CorLoc", "oracle", "hit", "miss", "IoU 0.61", "bird/1/1/0.jpg", "Provenance", "LayerCAM"):
        assert word in words


def test_text_from_the_data_is_escaped(tmp_path, evaluate):
    evaluation = evaluate(
        tags=(NASTY, "cat"), method=NASTY, provenance={"command": NASTY}, classes=[NASTY * 2]
    )
    write_report(tmp_path, evaluation, [make_panel(NASTY)], {f"{NASTY}2": evaluation}, title=NASTY)
    page = Page((tmp_path / "index.html").read_text())
    assert page.open == [] and not any(tag == "script" for tag, *_ in page.attributes)
    assert "<script" not in (tmp_path / "index.html").read_text() + (tmp_path / "table.md").read_text()
    assert NASTY in "".join(page.words)


def test_every_row_of_the_markdown_has_as_many_cells_as_its_head(tmp_path, evaluate):
    write_report(tmp_path, evaluate(tags=("a|b\n# c", "cat"), method="m|n"), title="t\n# u")
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == r"# t \# u" and r"| a\|b \# c | 2 |" in "\n".join(lines)
    cells = [line.replace(r"\|", "").count("|") for line in lines]
    for number, line in enumerate(lines):
        if line.startswith("| ---"):
            (wide,) = {cells[number - 1], *itertools.takewhile(bool, cells[number:])}
            assert wide > 2


def test_pictures_of_names_that_differ_in_a_suffix_or_are_long_lie_side_by_side(tmp_path, evaluate):
    names = ["a.png", "a.png.jpg", f"{'x' * 236}.png"]
    write_report(tmp_path, evaluate(), [replace(make_panel(), path=f"bird/{name}") for name in names])
    assert len(list((tmp_path / "overlays").iterdir())) == 3
    assert all(f"bird/{name}" in (tmp_path / "index.html").read_text() for name in names)


def test_what_the_pictures_lack_is_a_line_of_the_page(tmp_path, evaluate):
    write_report(tmp_path, evaluate(), [make_panel()], unshown="no <cache>")
    assert "<p class=note>no &lt;cache&gt;</p>" in (tmp_path / "index.html").read_text()


def test_a_report_without_pictures_or_predicted_tags_is_still_one(tmp_path, make_sweep):
    evaluation = score([make_sweep([0, 0, 0, 0], predicted=None)], "otsu", split="all", method="m", taus=TAUS)
    write_report(tmp_path, evaluation)
    assert Page((tmp_path / "index.html").read_text()).open == []
    assert not (tmp_path / "overlays").exists()


def test_writing_again_replaces_the_pictures_of_the_earlier_report(tmp_path, evaluate):
    write_report(tmp_path, evaluate(), [make_panel()] * 3)
    write_report(tmp_path, evaluate(), [make_panel()])
    assert [path.name for path in (tmp_path / "overlays").iterdir()] == ["000.jpg"]


def test_a_report_cut_short_has_no_page(tmp_path, evaluate):
    def panels():
        yield make_panel()
        raise KeyboardInterrupt

    write_report(tmp_path, evaluate())
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, evaluate(), panels())
    assert not (tmp_path / "index.html").exists()


def test_a_refused_write_is_a_storage_error(tmp_path, evaluate):
    (tmp_path / "report").write_text("a file")
    with pytest.raises(StorageError, match="report"):
        write_report(tmp_path / "report", evaluate())


def test_evaluations_of_other_frames_or_of_the_same_name_are_refused_all_at_once(tmp_path, evaluate):
    beside = {"tcam": evaluate(), "other": evaluate(tags=("cat",))}
    with pytest.raises(EvaluationError, match="other frames") as caught:
        write_report(tmp_path / "report", evaluate(), beside=beside)
    assert len(caught.value.offenders) == 2 and not (tmp_path / "report").exists()


def test_the_markdown_has_our_numbers_and_says_that_the_published_ones_are_of_another_set(evaluate):
    text = to_markdown(report_tables(evaluate(), {}))
    assert "| bird | 2 | 0.600 | 100.0 |" in text and "| **mean over classes** | **4** |" in text
    assert "| oracle (reported) | 0.250 | 100.0 | 0.600 |" in text
    assert (
        "Another data set" in text and "| TCAM | Belharbi et al., 2023 | 73.0 | 72.2 | 84.4 | 72.1 |" in text
    )
    assert "POD" not in text


def test_published_rows_stand_beside_ours_when_the_classes_are_youtube_objects(evaluate):
    classes = youtube_objects_classes()
    evaluation = evaluate(tags=classes[1:], classes=classes)
    table = classes_table(evaluation, {})
    tcam = table.header.index("TCAM, YouTube-Objects v1")
    by_class = {row[0]: row for row in table.rows}
    assert by_class["bird"][tcam] == 70.4 and by_class["bird"][3] == 100
    assert by_class["mean over classes"][tcam] == 73.0
    assert "POD" in [row[0] for row in published_table(evaluation.metrics).rows]


def test_a_class_without_frames_is_shown_as_one(evaluate):
    table = classes_table(evaluate(classes=["bird", "cat", "zebra"]), {})
    assert ("zebra", 0, None, None) in table.rows and "zebra" in table.note


def test_methods_stand_side_by_side_under_the_policies_they_share(evaluate, make_sweep):
    ours = evaluate()
    other = score(
        [make_sweep([0, 0, 0, 0.6], tag=row.tag, shot=row.shot, t=row.t) for row in ours.rows],
        "val", 0.5, split="test", method="layercam", taus=TAUS,
    )  # fmt: skip
    table = report_tables(ours, {"LayerCAM": other})[1]
    assert table.header[:3] == ("method", "CorLoc, oracle", "CorLoc, 0.5")
    assert [row[:3] for row in table.rows] == [("tcam", 100.0, 100.0), ("LayerCAM", 100.0, 0.0)]
    assert "CorLoc, val" not in table.header
