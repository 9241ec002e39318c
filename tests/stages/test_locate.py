"""Tests of `locate`: every stage in turn on tiny footage, taken up again, and what it refuses."""

import csv
import json
import shutil
from dataclasses import replace

import pytest

from tcam_cache.config import LocateConfig
from tcam_cache.datasets.listing import state_of
from tcam_cache.errors import AnnotationError, ConfigError, ManifestError, RunError
from tcam_cache.stages.locate import _scored, locate

TINY = {
    "classifier": "arch=squeezenet1_1 weights=none image-size=64 probe-frames=2",
    "build": "scales=1 image-size=64",
    "train": "image-size=64 steps=1 epochs=1 frames-per-shot=1 batch-size=4 decoder-width=0.1 crf=false",
    "workers": 0,
    "overlays": False,
}


@pytest.fixture(scope="module")
def found(small_data, tmp_path_factory):
    """The config and the report of `locate` on the small data set, with some true boxes."""
    folder = tmp_path_factory.mktemp("locate")
    # Scoring a frame takes longer than finding its box: a third of the true boxes is enough of that.
    header, *rows = (small_data / "annotations.csv").read_text().splitlines()
    (folder / "boxes.csv").write_text("\n".join([header, *rows[::3]]) + "\n")
    config = LocateConfig(source=small_data, out=folder / "found", annotations=folder / "boxes.csv", **TINY)
    return config, locate(config)


def test_every_frame_of_every_video_has_a_row_with_the_tag_of_its_video(found):
    config, report = found
    with (config.out / "boxes/boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == report.plan.frames == report.boxes.frames
    assert all(row["video"].startswith(f"{row['tag']}/") for row in rows)
    assert (report.tags, report.videos) == (("bird", "car", "dog"), 8)


def test_every_video_is_learned_from_and_its_boxes_only_score(found):
    config, report = found
    lines = (config.out / "manifest.jsonl").read_text().splitlines()[1:]
    assert {json.loads(line)["split"] for line in lines} == {"train"}
    assert not any(json.loads(line).get("boxes") for line in lines)
    assert report.scores.metrics.threshold["policy"] == "0.5"
    assert report.scores.metrics.frames == sum(
        len(json.loads(line)["boxes"])
        for line in (config.out / "annotated.jsonl").read_text().splitlines()[1:]
    )


def test_each_product_lies_in_its_folder_and_the_text_names_boxes_page_and_score(found):
    config, report = found
    for name in ("manifest.jsonl", "g.pt", "cache", "run", "boxes/boxes.csv", "boxes/report/index.html"):
        assert (config.out / name).exists(), name
    text = report.to_text()
    for part in ("boxes/boxes.csv: ", "boxes/report/index.html", "8 videos of 3 tags", "CorLoc "):
        assert part in text
    assert json.loads(json.dumps(report.to_json()))["boxes"]["frames"] == report.boxes.frames


def test_called_again_it_computes_nothing_anew(found):
    config, report = found
    products = [config.out / name for name in ("g.pt", "run/best.pt", "boxes/boxes.csv", "cache/cache.json")]
    before = [path.read_bytes() for path in products]
    again = locate(config)
    assert [path.read_bytes() for path in products] == before
    assert again.boxes.frames == report.boxes.frames and again.boxes.frames_per_second == 0.0
    assert again.tags_right == report.tags_right


def test_killed_between_stages_it_goes_on_to_the_same_boxes(found, tmp_path):
    config, _ = found
    boxes = (config.out / "boxes/boxes.csv").read_bytes()
    out = tmp_path / "found"
    shutil.copytree(config.out, out)
    for name in ("boxes", "run", "scores"):
        shutil.rmtree(out / name)
    locate(replace(config, out=out))
    assert (out / "boxes/boxes.csv").read_bytes() == boxes


def test_boxes_that_were_corrected_since_are_those_that_score(found, data_copy, tmp_path):
    config, report = found
    out, table = tmp_path / "found", tmp_path / "boxes.csv"
    shutil.copytree(config.out, out)
    header, *rows = config.annotations.read_text().splitlines()
    table.write_text("\n".join([header, *rows[: len(rows) // 2]]) + "\n")
    again = locate(replace(config, out=out, annotations=table))
    assert 0 < again.scores.metrics.true_boxes < report.scores.metrics.true_boxes
    assert again.boxes.frames_per_second == 0.0  # nothing else is computed
    metrics = locate(replace(config, out=out, annotations=None)).scores.metrics
    assert (metrics.corloc, metrics.true_boxes) == (
        again.scores.metrics.corloc,
        again.scores.metrics.true_boxes,
    )


def test_a_file_that_is_no_footage_may_join_it(found, data_copy, tmp_path):
    before = state_of(data_copy)
    (data_copy / "annotations2.csv").write_text("frame,class\n")
    assert state_of(data_copy) == before
    next(data_copy.rglob("*.jpg")).touch()
    assert state_of(data_copy) != before


def test_other_settings_or_changed_footage_in_the_same_folder_are_named(found, data_copy, tmp_path):
    config, _ = found
    with pytest.raises(RunError) as caught:
        locate(replace(config, effort="quick"))
    assert caught.value.offenders == ("effort: quick, not standard",)
    out = tmp_path / "found"
    out.mkdir()
    shutil.copy(config.out / "locate.json", out)
    stored = json.loads((out / "locate.json").read_text()) | {"source": str(data_copy)}
    (out / "locate.json").write_text(json.dumps(stored))
    next(data_copy.rglob("*.jpg")).write_bytes(b"")
    with pytest.raises(RunError) as caught:
        locate(replace(config, source=data_copy, out=out))
    assert caught.value.offenders == ("the files of the footage changed",)


def test_a_dry_run_says_the_plan_and_writes_nothing(small_data, tmp_path):
    report = locate(LocateConfig(source=small_data, out=tmp_path / "found", dry_run=True, every=2, **TINY))
    assert not (tmp_path / "found").exists()
    text = report.to_text()
    assert "effort standard: 8 videos, 11 shots, " in text and "one in 2 of each shot" in text
    assert text.endswith("nothing was written (--dry-run)")


def test_a_manifest_is_footage_too(found, tmp_path):
    config, report = found
    again = locate(
        replace(config, source=config.out / "annotated.jsonl", out=tmp_path / "found", annotations=None)
    )
    assert again.boxes.frames == report.boxes.frames


@pytest.mark.parametrize("place", ["", "bird", "new"])
def test_a_folder_in_the_footage_is_refused_as_out(small_data, place):
    with pytest.raises(ConfigError, match="is the footage, or lies in it"):
        locate(LocateConfig(source=small_data, out=small_data / place, **TINY))


def test_what_cannot_be_done_is_said_before_anything_is_computed(small_data, tmp_path, data_copy):
    with pytest.raises(ManifestError, match="there is no "):
        locate(LocateConfig(source=tmp_path / "nothing", out=tmp_path / "a", **TINY))
    with pytest.raises(AnnotationError, match="there is no "):
        locate(LocateConfig(source=small_data, out=tmp_path / "a", annotations=tmp_path / "no.csv", **TINY))
    (tmp_path / "b").mkdir()
    (tmp_path / "b/thesis.txt").write_text("")
    with pytest.raises(RunError, match="holds something else"):
        locate(LocateConfig(source=small_data, out=tmp_path / "b", **TINY))
    with pytest.raises(ConfigError, match="holds frames: --video writes clips again"):
        locate(LocateConfig(source=small_data, out=tmp_path / "c", video=True, **TINY))
    for tag in ("car", "dog"):
        shutil.rmtree(data_copy / tag)
    with pytest.raises(ManifestError, match="there is one class, bird, alone"):
        locate(LocateConfig(source=data_copy, out=tmp_path / "d", **TINY))


def test_a_broken_frame_is_left_out_and_named(data_copy, tmp_path, caplog):
    broken = sorted(data_copy.rglob("*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:100])
    report = locate(LocateConfig(source=data_copy, out=tmp_path / "found", **TINY))
    assert f"left out: {broken.relative_to(data_copy)}" in caplog.text
    assert report.boxes.frames == report.plan.frames


def test_shards_that_take_turns_find_the_boxes_of_one_machine(found, tmp_path):
    config, report = found
    first, second = (replace(config, out=tmp_path / "found", shard=f"{i}/2") for i in (0, 1))
    awaited = [
        (second, "the list of frames comes from shard 0/2"),
        (first, "their part of the cache comes from the other shards"),
        (second, "the decoder comes from shard 0/2"),
    ]
    for one, text in awaited:
        with pytest.raises(RunError, match=f"has done what it can: {text}"):
            locate(one)
    begun = locate(first)
    assert begun.boxes.awaited == 5 and "5 clips of other shards are not finished" in begun.to_text()
    assert begun.scores.metrics.corloc == report.scores.metrics.corloc
    ended = locate(second)
    assert ended.boxes.awaited == 0 and ended.scores is None
    for name in ("boxes/boxes.csv", "manifest.jsonl"):
        assert (first.out / name).read_bytes() == (config.out / name).read_bytes(), name


def test_two_jobs_find_the_boxes_of_one_process(found, tmp_path):
    config, _ = found
    out = tmp_path / "found"
    shutil.copytree(config.out, out)
    for name in ("boxes", "run", "scores", "cache"):
        shutil.rmtree(out / name)
    locate(replace(config, out=out, jobs=2))
    assert (out / "boxes/boxes.csv").read_bytes() == (config.out / "boxes/boxes.csv").read_bytes()


def test_boxes_are_scored_with_their_maps_mixed_as_for_the_boxes(monkeypatch, tmp_path):
    scored = []
    monkeypatch.setattr("tcam_cache.stages.locate.evaluate", scored.append)
    given = {"source": tmp_path / "m.jsonl", "out": tmp_path / "out", "threshold": 0.4}
    _scored(LocateConfig(**given, predict="mix=mean scales=1,2 batch-size=4"))
    _scored(LocateConfig(**given))
    assert [(one.mix, one.scales, one.threshold) for one in scored] == [
        ("mean", "1,2", "0.4"),
        (None, "1", "0.4"),
    ]
