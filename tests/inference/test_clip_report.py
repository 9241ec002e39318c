"""Tests of the frames that the report of `predict` shows of a clip."""

import pytest
from PIL import Image

from tcam_cache.datasets.boxes_table import FoundBox, found_line, header
from tcam_cache.inference import clip_report
from tcam_cache.inference.clip_report import write_clip_report
from tcam_cache.inference.clips import find_clips
from tcam_cache.records import Box


@pytest.fixture
def captions(tmp_path, monkeypatch):
    """Return a function: confidences of a clip's frames, None without a box -> captions of those shown."""

    def shown(confidences, gone=()):
        rows = []
        for t, confidence in enumerate(confidences):
            path = tmp_path / f"in/{t:02d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (32, 24)).save(path)
            box = None if confidence is None else Box(2, 2, 20, 20)
            rows.append(FoundBox("", t, path.name, None, 32, 24, "dog", 1.0, box, 1.0, confidence=confidence))
        (tmp_path / "boxes.csv").write_text(header() + "".join(map(found_line, rows)))
        clips, _ = find_clips([tmp_path / "in"], tmp_path)
        for t in gone:
            (tmp_path / f"in/{t:02d}.png").unlink()
        kept = []
        monkeypatch.setattr(clip_report, "write_footage_report", lambda out, clips, *_: kept.extend(clips))
        write_clip_report(tmp_path, clips, "Boxes")
        return [caption for one in kept for caption, _ in one.strip()]

    return shown


def test_the_least_sure_and_the_surest_frame_are_shown_among_evenly_spaced_ones(captions):
    sure = [0.5] * 26
    sure[3], sure[4], sure[17] = None, 0.1, 0.9
    assert captions(sure) == [
        "00.png", "least sure: 04.png", "05.png", "10.png", "15.png", "surest: 17.png", "20.png", "25.png",
    ]  # fmt: skip


def test_a_frame_that_is_shown_anyway_is_marked_and_the_first_of_equals_is(captions):
    assert captions([0.4, 0.2, 0.2, 0.7]) == ["00.png", "least sure: 01.png", "02.png", "surest: 03.png"]


@pytest.mark.parametrize("confidences", [[0.5, 0.5], [None, 0.5], [None, None]])
def test_no_frame_is_marked_where_none_is_surer_than_another(captions, confidences):
    assert captions(confidences) == ["00.png", "01.png"]


def test_a_frame_that_cannot_be_read_any_more_is_left_out(captions):
    assert captions([0.3, 0.4, 0.5], gone=[0]) == ["01.png", "surest: 02.png"]
