"""Tests of CAMs that others stored, one .pt file a frame: they move over, and what does not fit is listed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tcam_cache.cache import CamCache
from tcam_cache.config import ImportConfig, InspectConfig
from tcam_cache.datasets import read_manifest
from tcam_cache.errors import CacheError, ConfigError, FrameError
from tcam_cache.models import read_classifier_file
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.import_ import import_cams
from tcam_cache.stages.inspect import inspect_cache
from tcam_cache.stages.train import train_decoder


def name_of(shot, t, suffix=True):
    path = shot.path(t) if suffix else shot.path(t).removesuffix(".jpg")
    return path.replace("/", "_") + ".pt"


@pytest.fixture
def stored(small_manifest, small_cache, tmp_path):
    """A folder with the small cache's maps as the authors' code stores them; a test may change it."""
    folder = tmp_path / "cams_train"
    folder.mkdir()
    cache = CamCache.open(small_cache)
    for shot in read_manifest(small_manifest).shots:
        for t, cam in enumerate(torch.from_numpy(cache.cams(shot.id))):
            torch.save(cam.clone(), folder / name_of(shot, t))
    return folder


@pytest.fixture
def config(small_manifest, stored, tmp_path):
    """Return a maker of configs that import the folder into a new cache."""
    places = {"manifest": small_manifest, "source": stored, "out": tmp_path / "imported"}
    return lambda **given: ImportConfig(**{**places, **given})


def test_the_maps_are_the_same_and_there_are_no_logits(config, small_cache):
    report = import_cams(config(method="layercam"))
    assert (report.shots, report.frames, report.imported_frames) == (11, 35, 35)
    assert (report.flat_maps, report.nan_values, report.foreign_names) == (0, 0, 0)
    ours, theirs = CamCache.open(config().out), CamCache.open(small_cache)
    assert ours.verify() == () and ours.missing() == ()
    for shot in theirs.shots():
        assert np.array_equal(ours.cams(shot.id), theirs.cams(shot.id))
        stats = ours.stats(shot.id)
        assert stats.logits.shape == (shot.length, 0)
        assert set(stats.raw_min.tolist()) == {0.0} and set(stats.raw_max.tolist()) == {1.0}
    assert ours.settings["method"] == "layercam" and ours.settings["imported"] == "cams_train"
    assert ours.settings["logits"] is False


def test_raw_maps_are_normalised_flat_ones_counted_and_nan_taken_for_zero(config, stored):
    name = "bird_0002_frame000{}.jpg.pt"
    torch.save(torch.linspace(-2, 6, 49).view(1, 1, 7, 7), stored / name.format(1))
    torch.save(torch.full((7, 7), float("nan")), stored / name.format(2))
    third = torch.full((7, 7), -1.0, dtype=torch.float64)
    third[0, 0], third[6, 6] = float("nan"), 3
    torch.save(third.requires_grad_(), stored / name.format(3))
    report = import_cams(config())
    assert (report.flat_maps, report.nan_values) == (1, 50)
    cache = CamCache.open(config().out)
    cams, stats = cache.cams("bird/0002"), cache.stats("bird/0002")
    assert np.allclose(cams[0].ravel(), np.linspace(0, 1, 49), atol=1e-3)
    assert not cams[1].any() and stats.flat.tolist() == [False, True, False]
    assert (cams[2, 0, 0], cams[2, 3, 3], cams[2, 6, 6]) == (0.25, 0, 1)
    assert stats.raw_min.tolist() == [-2, 0, -1] and stats.raw_max.tolist() == [6, 0, 3]


def test_names_without_the_images_suffix_are_found_too(config, stored, small_manifest):
    for shot in read_manifest(small_manifest).shots:
        for t in range(len(shot)):
            (stored / name_of(shot, t)).rename(stored / name_of(shot, t, suffix=False))
    assert import_cams(config()).imported_frames == 35


def test_all_frames_without_exactly_one_file_are_listed_at_once_and_nothing_is_made(config, stored):
    (stored / "bird_0002_frame0002.jpg.pt").unlink()
    (stored / "dog_0001_frame0004.jpg.pt").unlink()
    (stored / "car_0002_frame0001.pt").write_bytes((stored / "car_0002_frame0001.jpg.pt").read_bytes())
    with pytest.raises(FrameError, match=r"3 frame\(s\) have not exactly one") as caught:
        import_cams(config())
    assert caught.value.offenders == (
        "bird/0002/frame0002.jpg: no bird_0002_frame0002.jpg.pt or bird_0002_frame0002.pt",
        "car/0002/frame0001.jpg: car_0002_frame0001.jpg.pt and car_0002_frame0001.pt",
        "dog/0001/frame0004.jpg: no dog_0001_frame0004.jpg.pt or dog_0001_frame0004.pt",
    )
    assert not config().out.exists()


def test_a_name_that_two_frames_share_is_no_ones(config, small_manifest, tmp_path):
    text = small_manifest.read_text().replace('"folder": "dog/0002"', '"folder": "bird_0002"')
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(FrameError, match="6 frame") as caught:
        import_cams(config(manifest=tmp_path / "m.jsonl"))
    assert (
        "bird/0002/frame0001.jpg: bird_0002_frame0001.jpg.pt could as well be of bird_0002/frame0001.jpg"
    ) in caught.value.offenders


def test_files_that_hold_no_map_of_the_size_are_listed_and_all_other_shots_imported(config, stored):
    torch.save(torch.zeros(5, 7), stored / "bird_0002_frame0001.jpg.pt")
    torch.save({"cam": torch.zeros(7, 7)}, stored / "bird_0002_frame0002.jpg.pt")
    torch.save(torch.zeros(2, 7, 7), stored / "car_0002_frame0001.jpg.pt")
    torch.save(torch.full((7, 7), float("inf")), stored / "car_0002_frame0002.jpg.pt")
    (stored / "dog_0001_frame0002.jpg.pt").write_bytes(b"nothing")
    with pytest.raises(FrameError, match=r"5 file\(s\) .* hold no CAM of 7 x 7") as caught:
        import_cams(config())
    wanted = ("5 x 7, not 7 x 7", "holds a dict", "(2, 7, 7)", "infinite", "not a file of tensors")
    for offender, reason in zip(caught.value.offenders, wanted, strict=True):
        assert reason in offender
    assert CamCache.open(config().out).missing() == ("bird/0002", "car/0002", "dog/0001")


def test_it_resumes_where_it_stopped_and_mended_files_move_over(config, stored, small_cache, same_arrays):
    good = (stored / "dog_0001_frame0002.jpg.pt").read_bytes()
    (stored / "dog_0001_frame0002.jpg.pt").write_bytes(b"")
    with pytest.raises(FrameError):
        import_cams(config())
    (stored / "dog_0001_frame0002.jpg.pt").write_bytes(good)
    assert import_cams(config()).imported_frames == 4
    assert import_cams(config()).imported_frames == 0
    assert CamCache.open(config().out).verify() == ()


def test_maps_of_another_folder_or_method_are_not_mixed_in(config, stored):
    import_cams(config())
    other = stored.rename(stored.with_name("cams_of_another"))
    with pytest.raises(CacheError, match="made with other settings") as caught:
        import_cams(config(source=other, method="cam"))
    assert caught.value.offenders == (
        "imported: cams_of_another, not cams_train",
        "method: cam, not imported",
    )


def test_one_split_can_be_imported_alone_and_files_of_no_frame_are_counted(config, stored):
    for file in [*stored.glob("*_0003_*"), *stored.glob("dog_0002*")]:
        file.unlink()
    (stored / "elephant_0001_frame0001.jpg.pt").write_bytes(b"")
    with pytest.raises(FrameError):
        import_cams(config())
    report = import_cams(config(split="train"))
    assert (report.foreign_names, report.imported_frames) == (1, 18)
    missing = CamCache.open(config().out).missing()
    assert len(missing) == 6 and "bird/0002" in missing
    assert import_cams(config(split="val")).imported_frames == 6


def test_training_and_scoring_go_on_from_it_without_cl(
    config, small_classifier, small_cache, decoder_config, evaluate_config, tmp_path
):
    import_cams(config(classifier=small_classifier, method="layercam"))
    train_decoder(decoder_config(cache=config().out))
    ours = evaluate(evaluate_config(cache=config().out))
    theirs = evaluate(evaluate_config(cache=small_cache, out=tmp_path / "other")).metrics
    assert ours.metrics.corloc == theirs.corloc and ours.metrics.mean_iou == theirs.mean_iou
    assert ours.metrics.cl_accuracy is None and theirs.cl_accuracy is not None
    assert "no logits, so no CL" in ours.to_text()
    assert ours.metrics.method == "layercam"


def test_a_classifier_that_lacks_a_class_of_the_manifest_is_refused_and_nothing_is_made(
    config, small_classifier, tmp_path
):
    file = read_classifier_file(small_classifier)
    replace(file, classes=("bird", "cat", "dog")).save(tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="not these classes of the manifest") as caught:
        import_cams(config(classifier=tmp_path / "other.pt"))
    assert caught.value.offenders == ("car",)
    assert not config().out.exists()


def test_without_a_classifier_training_says_what_is_missing(config, decoder_config):
    import_cams(config())
    with pytest.raises(CacheError, match=r"no file 'classifier\.pt' attached"):
        train_decoder(decoder_config(cache=config().out))


def test_it_is_inspected_without_logits(config):
    import_cams(config())
    summary = inspect_cache(InspectConfig(cache=config().out))
    assert summary.to_json()["cams"]["per_class"]["bird"]["agreement"] is None
    assert inspect_cache(InspectConfig(cache=config().out, shot="dog/0001")).to_json()["predicted"] == {}


def test_a_folder_that_is_not_there_is_named(config, tmp_path):
    with pytest.raises(FrameError, match=r"cannot read the folder .*nowhere"):
        import_cams(config(source=tmp_path / "nowhere"))
