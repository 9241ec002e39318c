import json
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tcam_cache.datasets import VideoFrames, read_annotations, read_manifest, sample, scan_videos
from tcam_cache.errors import AnnotationError, ConfigError, ExtraError, ManifestError

SAID = {"orientation": "upright", "times": "from the first frame"}
REAL = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture
def videos(tmp_path, write_video, make_scene):
    """Two classes: a bird in three scenes of 20, 12 and 15 frames, another bird and a car in one each."""
    root = tmp_path / "videos"
    scenes = np.concatenate([make_scene(1, 20), make_scene(2, 12), make_scene(3, 15)])
    write_video(root / "bird/three.mp4", scenes, g=12)
    write_video(root / "bird/one.avi", make_scene(4, 10), "mjpeg")
    write_video(root / "car/one.mkv", make_scene(5, 10))
    return root


def test_each_video_is_cut_into_its_shots(videos):
    manifest = scan_videos(videos, workers=1).manifest()
    assert (manifest.layout, manifest.classes) == ("videos", ("bird", "car"))
    assert [(shot.id, shot.video, shot.tag, len(shot)) for shot in manifest.shots] == [
        ("bird/one.avi/001", "bird/one.avi", "bird", 10),
        ("bird/three.mp4/001", "bird/three.mp4", "bird", 20),
        ("bird/three.mp4/002", "bird/three.mp4", "bird", 12),
        ("bird/three.mp4/003", "bird/three.mp4", "bird", 15),
        ("car/one.mkv/001", "car/one.mkv", "car", 10),
    ]
    assert manifest.shots[1].frames[:3] == ("00000000ms", "00000042ms", "00000083ms")
    assert manifest.facts == {**SAID, "shots": "cut"}
    assert len({shot.split for shot in manifest.shots if shot.video == "bird/three.mp4"}) == 1


def test_without_shots_each_video_is_whole(videos):
    manifest = scan_videos(videos, shots=False, workers=1).manifest()
    assert [len(shot) for shot in manifest.shots] == [10, 47, 10]
    assert manifest.facts == {**SAID, "shots": "whole videos"}


def test_in_processes_the_same_is_found(videos):
    assert scan_videos(videos, workers=2) == scan_videos(videos, workers=1)


def test_a_csv_lists_files_their_tags_and_their_splits(videos, write_lines):
    table = write_lines(
        videos.parent / "list.csv", "file,class,split", "videos/car/one.mkv,auto,test",
        f"{videos}/bird/one.avi,vogel,train", "videos/../videos/bird/three.mp4,vogel,val",
    )  # fmt: skip
    manifest = scan_videos(table, shots=False, workers=1).manifest()
    assert manifest.root == videos.parent and manifest.classes == ("auto", "vogel")
    assert {shot.video: (shot.tag, shot.split) for shot in manifest.shots} == {
        "videos/car/one.mkv": ("auto", "test"),
        "videos/bird/one.avi": ("vogel", "train"),
        "videos/bird/three.mp4": ("vogel", "val"),
    }
    assert VideoFrames(manifest.root).read(manifest.shots[0], 0).width == 64


def test_every_wrong_line_and_every_wrong_file_is_listed_at_once(videos, write_lines):
    (videos / "bird/one.avi").write_bytes(b"")
    (videos / "car/text.mp4").write_text("not a video " * 50)
    table = write_lines(
        videos / "list.csv", "file,class", "bird/one.avi,bird", "car/gone.mp4,car", "car/text.mp4,car",
        "car/one.mkv,car", "car/one.mkv,bird", "bird/three.mp4,",
    )  # fmt: skip
    with pytest.raises(ManifestError) as caught:
        scan_videos(table, workers=1).manifest()
    said = caught.value.offenders
    assert said[:4] == (
        "line 6: car/one.mkv is listed twice",
        "line 7: expected a file, a class and a split of train, val, test or none",
        "bird/one.avi: empty file",
        "car/gone.mp4: missing",
    )
    assert said[4].startswith("car/text.mp4: cannot be decoded") and len(said) == 5


@pytest.mark.parametrize(
    ("content", "said"), [("a,b\n1,2\n", "lacks 2 column"), ("file,class\n", "holds no video")]
)
def test_a_csv_of_something_else_is_refused(tmp_path, content, said):
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(ManifestError, match=said):
        scan_videos(tmp_path / "list.csv")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("bird/0001/frame0001.jpg", r"holds images, such as bird/0001/frame0001.jpg.*--layout folders"),
        (
            "clip.mp4",
            r"expected; one is clip.mp4.*CLASS/\*\.mov, \.\.\. below.*is a class, give /.* as ROOT; else",
        ),
        (
            "data/bird/clip.mp4",
            r"expected; one is data/bird/clip.mp4.* If bird is a class, give .*/data as ROOT",
        ),
    ],
)
def test_a_folder_without_videos_says_what_it_holds_and_what_to_do(tmp_path, path, said):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(b"")
    with pytest.raises(ManifestError, match=said):
        scan_videos(tmp_path)


def test_folders_of_splits_on_top_are_the_splits(tmp_path, write_video, make_scene):
    for name in ("train/bird/1.mp4", "val/bird/1.mp4", "train/car/2.mp4"):
        write_video(tmp_path / name, make_scene(1, 4))
    (tmp_path / "train/bird/._1.mp4").write_bytes(b"\0")
    manifest = scan_videos(tmp_path, workers=1).manifest()
    assert manifest.classes == ("bird", "car")
    assert {shot.video: shot.split for shot in manifest.shots} == {
        "train/bird/1.mp4": "train", "val/bird/1.mp4": "val", "train/car/2.mp4": "train",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["../1.mp4", "a/../../1.mp4", "/1.mp4"])
def test_a_csv_names_no_file_outside_its_folder(tmp_path, name):
    (tmp_path / "list.csv").write_text(f"file,class\n{name},bird\n")
    assert "put the CSV above its files" in scan_videos(tmp_path / "list.csv").faults[0]


def test_a_csv_of_windows_paths_in_another_unicode_form_finds_the_files(tmp_path, write_video, make_scene):
    write_video(tmp_path / "data/cafe\u0301/1.mp4", make_scene(1, 4))
    (tmp_path / "list.csv").write_text("file,class\ndata\\caf\u00e9\\1.mp4,caf\u00e9\n", encoding="utf-8")
    (shot,) = scan_videos(tmp_path / "list.csv", workers=1).manifest().shots
    assert (shot.video, shot.tag) == ("data/caf\u00e9/1.mp4", "caf\u00e9")
    assert (tmp_path / shot.folder).is_file()


def test_a_source_that_is_missing_or_empty_is_named(tmp_path):
    with pytest.raises(ManifestError, match="nowhere is not a folder"):
        scan_videos(tmp_path / "nowhere")
    with pytest.raises(ManifestError, match=r"holds no video.*CLASS/\*\.mp4"):
        scan_videos(tmp_path)


def test_a_download_that_stopped_half_way_is_named(videos):
    whole = (videos / "bird/one.avi").read_bytes()
    (videos / "bird/one.avi").write_bytes(whole[: len(whole) // 2])
    whole = (videos / "bird/three.mp4").read_bytes()
    (videos / "bird/three.mp4").write_bytes(whole[: len(whole) // 2])
    first, second = scan_videos(videos, workers=1).faults
    assert re.match(r"bird/one\.avi: (truncated|damaged)", first)
    assert second.startswith("bird/three.mp4: cannot be decoded")


def test_times_that_run_backwards_are_refused(tmp_path, write_video, make_scene):
    write_video(tmp_path / "bird/clip.avi", make_scene(0, 30), "libx264", g=12, bf=2)
    (fault,) = scan_videos(tmp_path, workers=1).faults
    assert "run backwards" in fault and "MP4" in fault


def test_boxes_stand_for_the_time_of_their_frame(videos, write_lines):
    table = write_lines(
        videos.parent / "boxes.csv", "frame,class,xmin,ymin,xmax,ymax,split",
        "bird/three.mp4/00000042ms,bird,1,2,30,40,val", "bird/three.mp4/00000875ms,bird,1,2,70,40,val",
    )  # fmt: skip
    manifest = scan_videos(videos, workers=1).annotated(read_annotations(table)).manifest()
    assert manifest.shot("bird/three.mp4/001").boxes == {1: ((1, 2, 30, 40),)}
    assert manifest.shot("bird/three.mp4/002").boxes == {1: ((1, 2, 64, 40),)}
    assert {shot.split for shot in manifest.shots if shot.video == "bird/three.mp4"} == {"val"}


def test_boxes_for_a_time_without_a_frame_are_faults(videos, write_lines):
    table = write_lines(
        videos.parent / "boxes.csv",
        "frame,class,xmin,ymin,xmax,ymax",
        "bird/three.mp4/00000043ms,bird,1,2,30,40",
    )
    scan = scan_videos(videos, workers=1)
    with pytest.raises(AnnotationError, match=r"line 2: bird/three\.mp4/00000043ms is not there"):
        scan.annotated(read_annotations(table))


def test_boxes_of_a_video_that_cannot_be_read_are_ignored(videos, write_lines):
    (videos / "bird/one.avi").write_bytes(b"")
    scan = scan_videos(videos, workers=1)
    table = write_lines(
        videos.parent / "boxes.csv", "frame,class,xmin,ymin,xmax,ymax", "bird/one.avi/00000042ms,bird,1,2,9,9"
    )
    assert scan.broken == {"bird/one.avi": "empty file"}
    assert scan.annotated(read_annotations(table)) == scan


@pytest.mark.parametrize(("fps", "kept"), [(24, 20), (12, 10), (8, 7), (5, 4), (1, 1), (1000, 20)])
def test_so_many_frames_a_second_are_kept(videos, fps, kept):
    manifest = sample(scan_videos(videos, workers=1).manifest(), fps=fps)
    shot = manifest.shot("bird/three.mp4/001")
    assert len(shot) == kept and shot.frames[0] == "00000000ms"
    assert manifest.facts["sampling"] == {"fps": fps}


def test_frames_of_images_have_no_times(small_manifest):
    with pytest.raises(ConfigError, match="fps is for video files"):
        sample(read_manifest(small_manifest), fps=2)


def test_stray_folders_and_classes_without_video_are_counted(videos, caplog):
    (videos / "bird/extra").mkdir()
    (videos / "fish").mkdir()
    scan_videos(videos, workers=1)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [
        "1 folder(s) below a class ignored, such as bird/extra",
        "1 class(es) with no video left out, such as fish",
    ]


def test_an_undecodable_name_of_a_video_is_named(tcam, videos, tmp_path):
    (videos / "bird/one.avi").rename(Path(f"{videos}/bird/\udcff.avi"))
    given = ["manifest", videos, "--layout", "videos", "--workers", 0, "--out", tmp_path / "m.jsonl"]
    result = tcam(*given)
    assert result.exit_code == 1 and "Traceback" not in result.stderr
    assert "not UTF-8" in result.stderr or "cannot be decoded" in result.stderr


def test_a_link_that_leads_to_itself_is_named(videos):
    (videos / "bird/loop.mp4").symlink_to("loop.mp4")
    with pytest.raises(ManifestError, match=r"loop\.mp4 cannot be followed"):
        scan_videos(videos, workers=1)


def test_without_pyav_the_error_says_what_to_install(videos, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ExtraError, match=r"tcam-cache\[video\]"):
        scan_videos(videos, workers=1)


def test_videos_are_indexed_checked_and_sampled_by_the_command_line(tcam, videos, tmp_path):
    given = [
        "manifest",
        videos,
        "--layout",
        "videos",
        "--workers",
        0,
        "--json",
        "--out",
        tmp_path / "m.jsonl",
    ]
    values = json.loads(tcam(*given, "--check", "--fps", 6, "--no-shots").stdout)
    assert values["check"]["frames"] == 3 + 12 + 3 and values["check"]["broken"] == {}
    said = {**SAID, "shots": "whole videos", "sampling": {"fps": 6.0}}
    assert read_manifest(tmp_path / "m.jsonl").facts == said


def test_a_video_that_changed_since_is_found_by_its_frames(tcam, videos, tmp_path, write_video, make_scene):
    from tcam_cache.datasets import check_frames

    manifest = scan_videos(videos, workers=1).manifest()
    write_video(videos / "car/one.mkv", make_scene(5, 7))
    report = check_frames(manifest, workers=1)
    assert sorted(report.broken) == [f"car/one.mkv/{t:08d}ms" for t in (292, 333, 375)]


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not beside the checkout")
@pytest.mark.parametrize("name", ["davis-car-turn.mp4", "davis-mallard-water.avi"])
def test_real_clips_are_one_shot_of_80_frames_read_in_any_order(tmp_path, name):
    (tmp_path / "tag").mkdir()
    (tmp_path / "tag" / name).symlink_to((REAL / "clips" / name).resolve())
    (shot,) = scan_videos(tmp_path, workers=1).manifest().shots
    source = VideoFrames(tmp_path)
    pixels = [source.read(shot, t).pixels for t in range(len(shot))]
    assert len(pixels) == 80 and pixels[0].shape == (270, 480, 3)
    for t in np.random.default_rng(0).integers(0, 80, 40):
        assert np.array_equal(source.read(shot, int(t)).pixels, pixels[t])


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not beside the checkout")
def test_nearly_every_cut_between_real_scenes_is_found_and_no_other():
    from tcam_cache.datasets.layouts.videos import find_cuts

    scenes = []
    for folder in sorted((REAL / "davis").glob("*/*/*/")):
        pictures = (Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg")))
        scenes.append(np.stack([picture.resize((32, 32), Image.Resampling.BOX) for picture in pictures]))
    found, true = (
        set(find_cuts(np.concatenate(scenes))),
        set(np.cumsum([len(s) for s in scenes])[:-1].tolist()),
    )
    assert found <= true and len(found) >= 17 and len(true) == 18
