"""Tests of the report of footage without true boxes."""

import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tcam_cache.evaluation.report.footage import (
    CAPTION_WIDTH,
    TILE_HEIGHT,
    ReportedClip,
    write_footage_report,
)

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def clip(name, confidence=None, presence=None, frames=4, tag="dog"):
    values = None if confidence is None else np.array(confidence, float)
    boxes = frames if values is None else int((~np.isnan(values)).sum())
    known = None if presence is None else np.array(presence, float)

    def strip():
        yield "0.0 s", np.zeros((20, 30, 3), np.uint8)
        yield "1.0 s", np.full((20, 30, 3), 255, np.uint8)

    return ReportedClip(name, tag, frames, boxes, values, known, strip)


class Page(HTMLParser):
    """The figures of a page, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.figures, self.images, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "figure":
            self.figures.append(dict(attrs))
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag not in ("meta", "line", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_least_sure_clips_come_first_and_those_without_a_box_before_all(tmp_path):
    clips = [
        clip("sure", [0.9, 0.9, 0.9, 0.9]),
        clip("none", [np.nan] * 4),
        clip("half", [0.5, np.nan, 0.7, 0.6]),
        clip("weak", [0.1, 0.2, 0.3, 0.2]),
    ]
    page = Page(write_footage_report(tmp_path, clips, "Boxes").read_text())
    assert [figure["data-name"] for figure in page.figures] == ["none", "weak", "half", "sure"]
    assert [figure["class"] for figure in page.figures] == ["unsure", "unsure", "middling", "sure"]
    assert [float(figure["data-sure"]) for figure in page.figures] == [0.0, 0.2, 0.6, 0.9]
    assert [float(figure["data-boxes"]) for figure in page.figures] == [0.0, 1.0, 0.75, 1.0]
    assert page.open == []


def test_pictures_lie_beside_the_page_and_those_of_an_earlier_report_go(tmp_path):
    write_footage_report(tmp_path, [clip("a"), clip("b"), clip("c")], "Boxes")
    page = Page(write_footage_report(tmp_path, [clip("a")], "Boxes").read_text())
    assert [one["src"] for one in page.images if "src" in one] == ["strips/0000.jpg"]
    assert [path.name for path in (tmp_path / "strips").iterdir()] == ["0000.jpg"]


def test_an_upright_frame_is_as_wide_in_its_strip_as_what_is_said_of_it(tmp_path):
    def strip():
        yield "least sure: 0.4 s", np.zeros((60, 10, 3), np.uint8)

    write_footage_report(tmp_path, [dataclasses.replace(clip("a"), strip=strip)], "Boxes")
    frame = np.asarray(Image.open(tmp_path / "strips/0000.jpg"))[-TILE_HEIGHT // 2]
    wide = np.flatnonzero(frame[:, 0] < 128)
    assert len(wide) == pytest.approx(TILE_HEIGHT / 6, abs=2)
    assert frame.shape[0] - 2 * wide[0] == CAPTION_WIDTH


def test_an_embedded_page_needs_no_other_file(tmp_path):
    page = Page(write_footage_report(tmp_path, [clip("a")], "Boxes", embed=True).read_text())
    assert page.images[0]["src"].startswith("data:image/jpeg;base64,/9j/")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_curve_is_broken_where_there_is_no_box(tmp_path):
    values = [1.0, 0.5, np.nan, 0.0]
    text = write_footage_report(tmp_path, [clip("a", values, presence=[0, 0, 1, 1])], "Boxes").read_text()
    confidence, presence = re.findall(r'<div class="curve (?:.*?)</svg>', text)
    assert re.findall(r'points="([^"]*)"', confidence) == ["0.0,0.0 200.0,28.0", "600.0,56.0 600.0,56.0"]
    assert len(re.findall("<polyline", presence)) == 1


def test_a_long_clip_has_no_more_points_than_pixels(tmp_path):
    text = write_footage_report(tmp_path, [clip("a", np.full(9000, 0.5), frames=9000)], "Boxes").read_text()
    (points,) = re.findall(r'points="([^"]*)"', text)
    assert len(points.split()) == 600


def test_every_name_is_escaped_and_every_tag_can_be_chosen(tmp_path):
    clips = [clip('<b>"x"&', tag="a<i>"), clip("plain", tag="b")]
    text = write_footage_report(tmp_path, clips, "<u>", ["<s>"]).read_text()
    page = Page(text)
    assert {figure["data-name"] for figure in page.figures} == {'<b>"x"&', "plain"}
    assert not re.search("<b>|<i>|<u>|<s>", text)
    assert "<option>a&lt;i&gt;</option><option>b</option>" in text


def test_clips_of_one_frame_and_of_none_are_shown(tmp_path):
    empty = ReportedClip("empty", "dog", 0, 0, np.array([]), None, lambda: iter(()))
    page = Page(write_footage_report(tmp_path, [empty, clip("one", [0.5], frames=1)], "Boxes").read_text())
    assert [figure["data-name"] for figure in page.figures] == ["empty", "one"]


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_in_a_browser_the_clips_are_counted_and_none_is_wider_than_a_phone(tmp_path):
    clips = [clip(f"videos/{number}", [0.5] * 4, [0.5] * 4) for number in range(3)]
    index = write_footage_report(tmp_path / "report", clips, "Boxes", embed=True)
    probe = "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth</script>"
    index.write_text(index.read_text().replace("</body>", f"{probe}</body>"))
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--window-size=500,900",
            f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", index.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "3 of 3 clips" in done.stdout
    width, room = map(int, re.search(r"<title>(\d+) of (\d+)</title>", done.stdout).groups())
    assert width <= room
