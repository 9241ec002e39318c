"""Tests of the manifest stage: what it counts, and what a look at every frame finds."""

import json

import pytest
from PIL import Image

from tcam_cache.config import ManifestConfig
from tcam_cache.datasets import frame_source, read_manifest
from tcam_cache.errors import AnnotationError, ConfigError, FrameError, ManifestError
from tcam_cache.stages.manifest import index_dataset


@pytest.fixture
def config(data_copy, tmp_path):
    annotations = data_copy / "annotations.csv"
    defaults = {"source": data_copy, "layout": "folders", "out": tmp_path / "m.jsonl", "workers": 0}
    return lambda **given: ManifestConfig(**{"annotations": annotations, **defaults, **given})


def test_the_report_counts_what_the_manifest_holds(config):
    report = index_dataset(config())
    assert report.classes == ("bird", "car", "dog")
    assert report.splits == {
        "train": {"videos": 3, "shots": 5, "frames": 18, "boxes": 10},
        "val": {"videos": 2, "shots": 2, "frames": 6, "boxes": 6},
        "test": {"videos": 3, "shots": 4, "frames": 11, "boxes": 11},
    }
    manifest = read_manifest(report.manifest)
    assert (manifest.digest(), len(manifest.shots)) == (report.digest, 11)
    assert json.loads(json.dumps(report.to_json()))["check"] is None
    assert "11 boxes" in report.to_text() and "bird, car, dog" in report.to_text()


def test_without_annotations_every_video_gets_a_seeded_split_and_no_box(config):
    splits = [
        index_dataset(config(annotations=None, out=config().out.with_name(name), seed=seed)).splits
        for name, seed in (("a", 0), ("b", 0), ("c", 3))
    ]
    assert splits[0] == splits[1]
    assert sum(split["videos"] for split in splits[2].values()) == 8
    assert all(split["boxes"] == 0 for split in splits[2].values())


def test_check_says_in_words_that_every_frame_can_be_read(config):
    report = index_dataset(config(check=True))
    assert report.to_json()["check"]["frames"] == 35
    assert "35 frames of 11 shots decoded, 0 cannot be read" in report.to_text()


def test_check_lists_every_broken_frame_and_leaves_the_manifest(config, data_copy):
    (data_copy / "bird/0002/frame0002.jpg").write_bytes(b"")
    whole = (data_copy / "car/0002/frame0003.jpg").read_bytes()
    (data_copy / "car/0002/frame0003.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FrameError) as caught:
        index_dataset(config(check=True, annotations=None))
    assert caught.value.offenders == (
        "bird/0002/frame0002.jpg: empty file",
        "car/0002/frame0003.jpg: truncated",
    )
    assert config().out.is_file()


def test_check_lists_broken_frames_and_boxes_that_do_not_fit_together(config, data_copy):
    (data_copy / "bird/0003/frame0002.jpg").unlink()
    (data_copy / "bird/0001/002/frame0001.jpg").write_bytes(b"")
    with pytest.raises(AnnotationError):
        index_dataset(config())
    with pytest.raises(FrameError) as caught:
        index_dataset(config(check=True))
    assert caught.value.offenders[0] == "bird/0001/002/frame0001.jpg: empty file"
    assert any("bird/0003/frame0002.jpg is not there" in line for line in caught.value.offenders[1:])


def test_links_out_of_the_root_are_taken_on_request_alone(config, data_copy, tmp_path):
    (data_copy / "bird").rename(tmp_path / "kept elsewhere")
    (data_copy / "bird").symlink_to(tmp_path / "kept elsewhere")
    with pytest.raises(ManifestError, match="--follow-links") as caught:
        index_dataset(config())
    assert caught.value.offenders == ("bird",)
    report = index_dataset(config(follow_links=True))
    assert report.classes == ("bird", "car", "dog")
    assert read_manifest(report.manifest).facts["follow_links"] is True


@pytest.fixture
def lying(tmp_path):
    """One folder of images 16 x 12 as stored, that are shown 12 x 16, and a box that fills the latter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for video in ("0001", "0002", "0003"):
        folder = tmp_path / "data/bird" / video
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 12), (90, 60, 30)).save(folder / "1.jpg", exif=exif)
    rows = ["frame,class,xmin,ymin,xmax,ymax", "bird/0001/1.jpg,bird,0,0,12,16"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    return tmp_path


@pytest.mark.parametrize(("asked", "size"), [(None, (12, 16)), ("upright", (12, 16)), ("stored", (16, 12))])
def test_frames_and_boxes_are_upright_unless_stored_pixels_are_asked_for(lying, asked, size):
    given = {"source": lying / "data", "layout": "folders", "out": lying / "m.jsonl", "workers": 0}
    report = index_dataset(
        ManifestConfig(**given, annotations=lying / "boxes.csv", orientation=asked, check=True)
    )
    manifest = read_manifest(lying / "m.jsonl")
    assert manifest.facts["orientation"] == (asked or "upright") and report.check.broken == {}
    frame = frame_source(manifest).read(manifest.shots[0], 0)
    assert (frame.width, frame.height) == size and frame.pixels.shape[:2] == size[::-1]
    assert manifest.shots[0].boxes == {0: ((0, 0, 12, min(16, size[1])),)}


@pytest.mark.parametrize(("asked", "height"), [(None, 12), ("upright", 16)])
def test_split_files_are_about_stored_pixels_unless_upright_is_asked_for(lying, asked, height):
    folder = lying / "splits/test"
    folder.mkdir(parents=True)
    (lying / "splits/class_id.yaml").write_text("{bird: 0}\n")
    name = "bird/0001/1.jpg"
    width = 28 - height
    for file, line in (
        ("image_ids", name),
        ("class_labels", f"{name},0"),
        ("image_sizes", f"{name},{width},{height}"),
        ("localization", f"{name},0,0,{width},{height}"),
    ):
        (folder / f"{file}.txt").write_text(f"{line}\n")
    given = {"source": lying / "data", "layout": "wsol", "splits": lying / "splits", "out": lying / "m.jsonl"}
    index_dataset(ManifestConfig(**given, orientation=asked))
    manifest = read_manifest(lying / "m.jsonl")
    assert manifest.facts["orientation"] == (asked or "stored")
    assert manifest.shots[0].boxes == {0: ((0, 0, width, height),)}
    assert frame_source(manifest).read(manifest.shots[0], 0).height == height


@pytest.mark.parametrize("layout", ["ytov1", "ytov2.2"])
def test_published_layouts_have_pixels_as_stored(layout):
    assert ManifestConfig(source="x", layout=layout, out="m.jsonl").pixels_are == "stored"


def test_broken_frames_are_left_out_on_request_listed_and_counted(config, data_copy, tmp_path):
    (data_copy / "bird/0001/001/frame0002.jpg").write_bytes(b"")
    (data_copy / "car/0001/002/frame0001.jpg").write_text("no image")
    (data_copy / "car/0001/002/frame0002.jpg").write_text("no image")
    annotated = config(annotations=data_copy / "annotations.csv", skip_broken=True)
    report = index_dataset(annotated)
    assert report.left_out == (
        "bird/0001/001/frame0002.jpg: empty file",
        "car/0001/002/frame0001.jpg: not an image",
        "car/0001/002/frame0002.jpg: not an image",
    )
    assert "3 broken video(s) and frame(s) left out" in report.to_text()
    manifest = read_manifest(report.manifest)
    lengths = {shot.id: len(shot) for shot in manifest.shots}
    assert lengths["bird/0001/001"] == 5 and "car/0001/002" not in lengths
    assert manifest.facts["left_out"] == 3
    whole = index_dataset(config(annotations=data_copy / "annotations.csv", skip_broken=True, check=True))
    assert whole.check.broken == {} and sorted(manifest.shot("bird/0001/001").boxes) == [0, 1, 3]


def test_a_class_that_is_broken_as_a_whole_goes_and_nothing_left_is_an_error(config, data_copy):
    for path in (data_copy / "dog").rglob("*.jpg"):
        path.write_bytes(b"")
    assert index_dataset(config(skip_broken=True)).classes == ("bird", "car")
    for path in data_copy.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(ManifestError, match="holds no frame that can be read"):
        index_dataset(config(skip_broken=True))


def test_broken_videos_are_left_out_with_their_boxes(tmp_path):
    pytest.importorskip("av")
    for tag in ("cat", "dog"):
        (tmp_path / "clips" / tag).mkdir(parents=True)
        frames = [Image.new("RGB", (64, 48), (90 + 40 * n, 60, 30)) for n in range(3)]
        frames[0].save(tmp_path / f"clips/{tag}/a.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "clips/dog/b.mp4").write_bytes(b"no video")
    rows = ["frame,class,xmin,ymin,xmax,ymax", "dog/b.mp4/00000000ms,dog,1,1,9,9"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    given = {"source": tmp_path / "clips", "layout": "videos", "out": tmp_path / "m.jsonl", "workers": 0}
    with pytest.raises(ManifestError, match=r"dog/b\.mp4"):
        index_dataset(ManifestConfig(**given, annotations=tmp_path / "boxes.csv"))
    (tmp_path / "wrong.csv").write_text("\n".join([*rows, "cat/z.gif/00000000ms,cat,1,1,9,9"]))
    with pytest.raises(ManifestError) as caught:
        index_dataset(ManifestConfig(**given, annotations=tmp_path / "wrong.csv"))
    assert [text.split(":")[0] for text in caught.value.offenders] == ["dog/b.mp4", "line 3"]
    report = index_dataset(ManifestConfig(**given, annotations=tmp_path / "boxes.csv", skip_broken=True))
    assert [text.split(":")[0] for text in report.left_out] == ["dog/b.mp4"]
    assert {shot.video for shot in read_manifest(report.manifest).shots} == {"cat/a.gif", "dog/a.gif"}


def test_videos_kept_apart_are_mentioned_where_there_are_no_boxes_and_none_is_with_no_split(
    small_data, tmp_path, caplog
):
    caplog.set_level("INFO", "tcam_cache")
    given = {"source": small_data, "out": tmp_path / "m.jsonl"}
    index_dataset(ManifestConfig(**given))
    assert "kept for val and test, and there are no boxes to score them by: with --no-split" in caplog.text
    caplog.clear()
    report = index_dataset(ManifestConfig(split=False, **given))
    assert list(report.splits) == ["train"] and "--no-split" not in caplog.text


def test_splits_that_a_file_gives_and_no_split_contradict_each_other(small_data, tmp_path):
    with pytest.raises(ConfigError, match="--no-split learns from every video"):
        ManifestConfig(source=small_data, out=tmp_path / "m", split=False, splits=tmp_path / "s.csv")


def test_frames_kept_beyond_the_most_of_a_shot_are_said(small_data, tmp_path, caplog):
    caplog.set_level("INFO", "tcam_cache")
    index_dataset(
        ManifestConfig(
            source=small_data,
            annotations=small_data / "annotations.csv",
            out=tmp_path / "m",
            max_per_shot=1,
        )
    )
    assert "keep more than --max-per-shot 1 frames: all their annotated ones" in caplog.text
