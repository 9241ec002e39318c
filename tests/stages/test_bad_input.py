"""Tests of bad data on the command line: one named error with every offender, or a counted warning."""

import json
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from tcam_cache.models.backbone import torchvision_network

TIMM = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


@pytest.fixture
def annotate(data_copy):
    """Return a function that adds rows to the annotations, with the split of their video."""

    def add(*rows):
        with (data_copy / "annotations.csv").open("a") as file:
            file.writelines(f"{row}\n" for row in rows)

    return add


# The data set on disk


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_missing_or_empty_folder(fails, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    error = fails("manifest", tmp_path / folder, "--layout", "folders", "--out", tmp_path / "m")
    assert folder in error and not (tmp_path / "m").exists()


def test_a_manifest_that_is_gone_or_is_none(fails, small_classifier, small_data, tmp_path):
    for manifest in (tmp_path / "gone.jsonl", small_data / "annotations.csv"):
        error = fails("build", manifest, "--classifier", small_classifier, "--out", tmp_path / "cache")
        assert manifest.name in error


def test_a_data_set_that_was_moved_away(fails, small_manifest, small_classifier, tmp_path):
    given = ["--classifier", small_classifier, "--out", tmp_path / "cache", "--root", tmp_path / "gone"]
    error = fails("build", small_manifest, *given)
    assert "gone" in error and "--root" in error


def test_a_class_with_no_video(tcam, index, data_copy):
    (data_copy / "zebra").mkdir()
    result = tcam(*index)
    assert result.exit_code == 0 and "1 class(es) with no video left out, such as zebra" in result.stderr


def test_a_class_with_no_training_video(fails, tcam, small_data, tmp_path):
    rows = ["frame,class,xmin,ymin,xmax,ymax,split"]
    for tag, split in (("bird", "test"), ("car", "train"), ("dog", "val")):
        shutil.copytree(small_data / tag / "0002", tmp_path / "few" / tag / "0002")
        rows.append(f"{tag}/0002/frame0001.jpg,{tag},1,1,9,9,{split}")
    (tmp_path / "a.csv").write_text("\n".join(rows))
    given = ["--layout", "folders", "--annotations", tmp_path / "a.csv", "--out", tmp_path / "m"]
    assert tcam("manifest", tmp_path / "few", *given).exit_code == 0
    error = fails("classifier", tmp_path / "m", "--out", tmp_path / "g.pt", "--weights", "none")
    assert "class bird: no video" in error and "class dog: no video" in error and "class car" not in error


@pytest.mark.parametrize("how", ["link", "annotations"])
def test_one_video_listed_under_two_classes(fails, index, data_copy, annotate, how):
    if how == "link":
        (data_copy / "dog/0009").symlink_to(data_copy / "car/0002")
    else:
        annotate("car/0002/frame0001.jpg,dog,1,1,9,9,val")
    error = fails(*index)
    assert "car/0002" in error and "dog" in error


# Frames


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_text("no image"), "not an image"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "truncated"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.unlink() or path.mkdir(), "cannot be opened"),
    ],
    ids=["zero-byte", "unreadable", "truncated", "missing", "folder"],
)
def test_frames_that_cannot_be_read(fails, tcam, build, data_copy, damage, reason):
    names = ["bird/0001/001/frame0002.jpg", "bird/0001/001/frame0003.jpg", "dog/0002/frame0001.jpg"]
    for name in names:
        damage(data_copy / name)
    error = fails(*build)
    assert all(f"{name}: {reason}" in error for name in names)
    assert json.loads(tcam("inspect", build[-1], "--json").stdout)["total"]["committed"] == 9


def test_frames_that_cannot_be_read_while_training(fails, train, small_cache, data_copy):
    (data_copy / "dog/0001/frame0001.jpg").write_bytes(b"")
    error = fails(*train, "--cache", small_cache, "--root", data_copy, "--frames-per-shot", 9)
    assert "dog/0001/frame0001.jpg: empty file" in error


def test_frames_that_cannot_be_read_while_fitting(fails, small_manifest, data_copy, tmp_path):
    (data_copy / "dog/0001/frame0001.jpg").write_bytes(b"")
    given = ["--weights", "none", "--arch", "squeezenet1_1", "--image-size", 64]
    given += ["--root", data_copy, "--workers", 0, "--out", tmp_path / "g.pt"]
    error = fails("classifier", small_manifest, *given)
    assert "dog/0001/frame0001.jpg: empty file" in error


def test_greyscale_cmyk_and_16_bit_frames_are_read_and_counted(tcam, index, build, data_copy):
    grey = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    folder = data_copy / "bird/0002"
    for mode, name in (("L", "frame0001.jpg"), ("CMYK", "frame0002.jpg")):
        with Image.open(folder / name) as image:
            image.convert(mode).save(folder / name)
    Image.fromarray(grey).save(folder / "frame0004.png")
    checked = tcam(*index, "--check")
    assert checked.exit_code == 0
    assert "1 frame(s) of mode L" in checked.stdout and "1 frame(s) of mode CMYK" in checked.stdout
    assert "1 frame(s) of mode I;16" in checked.stdout
    build[1] = index[-1]
    assert json.loads(tcam(*build, "--json").stdout)["built_frames"] == 36


def test_frames_of_different_sizes_in_a_shot(tcam, index, build, data_copy):
    frame = data_copy / "dog/0001/frame0002.jpg"
    with Image.open(frame) as image:
        image.resize((30, 40)).save(frame)
    assert "shot dog/0001: frames of 64x48, 30x40" in tcam(*index, "--check").stdout
    built = tcam(*build)
    assert built.exit_code == 0 and "1 new shot(s) hold frames of different sizes" in built.stderr


def test_a_shot_of_one_frame_goes_through_every_stage(tcam, index, small_cache, train):
    assert "1 shot(s) of a single frame" in tcam(*index).stderr
    assert json.loads(tcam("inspect", small_cache, "bird/0001/002", "--json").stdout)["frames"] == 1
    assert tcam(*train, "--cache", small_cache, "--neighbours", 4).exit_code == 0


# Backbones, layers and scales


@pytest.fixture
def fit_on(small_manifest, tmp_path):
    """Return a function that gives the arguments which fit a classifier on a backbone."""

    def arguments(arch, weights="none"):
        return [
            "classifier",
            small_manifest,
            "--arch",
            arch,
            "--weights",
            weights,
            "--out",
            tmp_path / "g.pt",
        ]

    return arguments


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("resnet51", "torchvision has none of that name. Did you mean resnet50"),
        ("vit_b_16", "cannot serve as a backbone here"),
        pytest.param("timm:resnet19", "has none of that name. Did you mean resnet18", marks=TIMM),
        pytest.param("timm:pit_ti_224", "cannot serve as a backbone here", marks=TIMM),
    ],
)
def test_an_architecture_that_is_none_or_cannot_serve(fails, fit_on, tmp_path, arch, said):
    assert said in fails(*fit_on(arch)) and not (tmp_path / "g.pt").exists()


def test_a_network_of_timm_s_without_timm(fails, fit_on, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert 'Run `pip install "tcam-cache[timm]"`' in fails(*fit_on("timm:resnet18"))


@TIMM
def test_weights_of_another_network_than_timm_s(fails, fit_on, tmp_path):
    torch.save(torchvision_network("squeezenet1_1").state_dict(), tmp_path / "w.pth")
    error = fails(*fit_on("timm:test_efficientnet", tmp_path / "w.pth"))
    assert "do not fit timm:test_efficientnet. They are those of squeezenet1_1" in error


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("features.99", "features.99: no such layer. Did you mean features.9"),
        ("last,features.3.squeezed", "features.3.squeezed: no such layer. Did you mean features.3.squeeze"),
        ("classifier.1", "classifier.1: comes after pooling, its activation is not spatial"),
    ],
)
def test_a_layer_that_is_none_or_not_spatial(fails, build, layers, said):
    assert said in fails(*build, "--layers", layers) and not build[-1].exists()


def test_scales_whose_maps_have_too_few_cells(fails, build):
    error = fails(*build, "--scales", "0.5,1")
    assert "frames of 32 pixels make maps of 3 x 3 cells" in error and "Leave the smallest scale out" in error


# Annotations


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ("70,1,90,20", "outside its 64x48 image"),
        ("30,10,20,20", "inverted"),
        ("5,5,5,20", "inverted or empty"),
        ("1,nan,9,9", "NaN"),
        ("1,2,3,inf", "infinite"),
        ("1,2,three,4", "not four numbers"),
        ("1,2,,4", "not four numbers"),
    ],
)
def test_boxes_that_are_none_are_all_named_with_their_lines(fails, index, annotate, box, word):
    annotate(f"car/0002/frame0001.jpg,car,{box},val", f"dog/0002/frame0002.jpg,dog,{box},test")
    error = fails(*index)
    assert "in 2 point(s)" in error and error.count(word) == 2
    assert "line 29: car/0002/frame0001.jpg" in error and "line 30: dog/0002/frame0002.jpg" in error


def test_a_box_that_reaches_beyond_its_image_is_clipped_and_counted(tcam, index, annotate):
    annotate("car/0001/001/frame0002.jpg,car,40,10,90,30,train")
    result = tcam(*index)
    assert result.exit_code == 0 and "1 box(es) reached beyond their image" in result.stderr
    assert [40.0, 10.0, 64.0, 30.0] in json.loads(index[-1].read_text().splitlines()[5])["boxes"]["1"]


def test_annotations_of_frames_that_are_not_there(fails, index, annotate):
    annotate("car/0002/frame0099.jpg,car,1,1,9,9,val", "cat/0001/frame0001.jpg,cat,1,1,9,9,val")
    error = fails(*index)
    assert "car/0002/frame0099.jpg is not there" in error and "cat/0001/frame0001.jpg is not there" in error


def test_annotations_that_are_gone_or_lack_columns(fails, index, data_copy):
    (data_copy / "annotations.csv").write_text("frame,class\n")
    assert "xmin" in fails(*index)
    (data_copy / "annotations.csv").unlink()
    assert "annotations.csv" in fails(*index)
