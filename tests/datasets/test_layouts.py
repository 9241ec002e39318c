"""The official layouts through the command line: indexed, checked, split and sampled."""

import json

import pytest

from tcam_cache.datasets import read_manifest


@pytest.fixture
def manifest_of(tcam, tmp_path):
    """Return a function that indexes a tree and returns the result and its JSON."""

    def run(root, layout, *args):
        given = ["--layout", layout, "--out", tmp_path / "m.jsonl", "--workers", 0, "--json"]
        result = tcam("manifest", root, *given, *args)
        return result, json.loads(result.stdout)

    return run


def test_youtube_objects_v1_is_indexed_as_distributed(manifest_of, ytov1):
    result, values = manifest_of(ytov1, "ytov1")
    assert result.exit_code == 0
    assert values["splits"] == {
        "train": {"videos": 20, "shots": 21, "frames": 43, "boxes": 10},
        "val": {"videos": 50, "shots": 52, "frames": 102, "boxes": 52},
        "test": {"videos": 10, "shots": 10, "frames": 20, "boxes": 20},
    }


def test_youtube_objects_v2_2_is_indexed_as_distributed(manifest_of, ytov2_2):
    result, values = manifest_of(ytov2_2, "ytov2.2")
    assert result.exit_code == 0
    assert values["splits"] == {
        "train": {"videos": 21, "shots": 22, "frames": 44, "boxes": 10},
        "val": {"videos": 30, "shots": 30, "frames": 80, "boxes": 30},
        "test": {"videos": 10, "shots": 20, "frames": 40, "boxes": 30},
    }


@pytest.mark.parametrize("layout", ["ytov1", "ytov2.2"])
def test_check_lists_frames_faults_and_counts_at_once_as_text_and_as_json(
    manifest_of, request, tmp_path, layout
):
    root = request.getfixturevalue(layout.replace(".", "_"))
    frame = {"ytov1": "cow/data/0002/shots/001/frame0002.jpg", "ytov2.2": "cow/00000002.jpg"}[layout]
    (root / frame).write_bytes(b"")
    gone = {"ytov1": "cat/sets/train.txt", "ytov2.2": "Ranges/ranges_cat.mat"}[layout]
    (root / gone).unlink()
    result, values = manifest_of(root, layout, "--check")
    assert result.exit_code == 1 and values["error"] == "FrameError"
    assert values["offenders"][0] == f"{frame}: empty file"
    said = {"ytov1": f"{gone} is missing", "ytov2.2": f"cannot read {gone}: No such file or directory."}
    assert said[layout] in values["offenders"]
    assert any(line.startswith("videos: got ") for line in values["offenders"])
    assert any(line.startswith("test boxes: got ") for line in values["offenders"])
    assert f"{frame}: empty file" in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "m.jsonl").exists()


def test_check_of_a_sound_tree_that_is_not_the_whole_says_so_and_leaves_the_manifest(
    manifest_of, ytov2_2, tmp_path
):
    result, values = manifest_of(ytov2_2, "ytov2.2", "--check")
    assert result.exit_code == 1 and values["error"] == "ManifestError"
    assert "frames: got 164, expected 722,040" in values["offenders"]
    assert len(read_manifest(tmp_path / "m.jsonl").shots) == 72


def test_any_file_of_splits_replaces_the_published_rule(manifest_of, ytov2_2, tmp_path):
    (tmp_path / "splits.csv").write_text("cat/video-0006,test\ncat/video-0004,val\n")
    _, values = manifest_of(ytov2_2, "ytov2.2", "--splits", tmp_path / "splits.csv")
    assert values["splits"]["test"]["videos"] == values["splits"]["val"]["videos"] == 1


def test_split_files_written_from_the_distribution_hold_the_published_paths(manifest_of, ytov1, tmp_path):
    manifest_of(ytov1, "ytov1", "--write-splits", tmp_path / "splits")
    test = (tmp_path / "splits/test/image_ids.txt").read_text().split()
    assert test[0] == "aeroplane/data/0008/shots/001/frame0001.jpg" and len(test) == 10
    _, values = manifest_of(ytov1, "wsol", "--splits", tmp_path / "splits")
    assert values["splits"]["test"] == {"videos": 10, "shots": 10, "frames": 10, "boxes": 20}


def test_split_files_written_from_v2_2_hold_the_published_paths(manifest_of, ytov2_2, tmp_path):
    manifest_of(ytov2_2, "ytov2.2", "--write-splits", tmp_path / "splits")
    test = (tmp_path / "splits/test/image_ids.txt").read_text().split()
    assert test[0] == "aeroplane/video-0005/shot-000004/00000011.jpg"
    _, values = manifest_of(ytov2_2, "ytov2.2", "--splits", tmp_path / "splits")
    assert [values["splits"][split]["videos"] for split in ("train", "val", "test")] == [21, 30, 10]


def test_a_root_that_moved_since_is_named_with_what_to_do(manifest_of, tcam, ytov1, tmp_path):
    manifest_of(ytov1, "ytov1")
    ytov1.rename(tmp_path / "moved")
    result = tcam("classifier", tmp_path / "m.jsonl", "--out", tmp_path / "g.pt")
    assert result.exit_code == 1 and "--root" in result.stderr and str(ytov1) in result.stderr
