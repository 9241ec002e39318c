"""Tests of caches of maps of one's own: stored, told apart, shared out, and kept when the function fails."""

import json
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tcam_cache.cache import CamCache
from tcam_cache.datasets import read_manifest
from tcam_cache.errors import CacheError, ConfigError, MapError
from tcam_cache.models import read_classifier_file
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.train import train_decoder

PAGE = Path(__file__).parents[2] / "docs/cams.md"
RED = "def red(frames, tags):\n    return frames[:, ::8, ::8, 0] / 255 - 0.5\n"


@pytest.fixture
def mymaps(tmp_path, monkeypatch):
    """Return a function that writes mymaps.py into the current folder, as if Python had started anew."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text):
        sys.modules.pop("mymaps", None)
        (folder / "mymaps.py").write_text(text)

    yield write
    sys.modules.pop("mymaps", None)


def squashed(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))


def unit(values):
    return (values - values.min()) / (values.max() - values.min())


def test_the_example_of_the_page_is_built_by_its_command_and_trained_on(
    mymaps, tcam, small_manifest, small_classifier, small_cache, decoder_config, tmp_path, monkeypatch
):
    if not PAGE.is_file():
        pytest.skip("no checkout around these tests")
    (example,) = re.findall(r"```py\n(import numpy.*?)```", PAGE.read_text(), re.DOTALL)
    (command,) = re.findall(r"^tcam-cache (build .*mymaps:colour_distance)$", PAGE.read_text(), re.MULTILINE)
    mymaps(example)
    Path("m.jsonl").symlink_to(small_manifest)
    Path("g.pt").symlink_to(small_classifier)
    root = read_manifest(small_manifest).root
    done = tcam(*command.split(), "--image-size", 64, "--workers", 0, "--root", root, "--json")
    assert json.loads(done.stdout)["built_frames"] == 35, done.output
    cache, manifest = CamCache.open("cache"), read_manifest(small_manifest)
    assert cache.settings["method"] == "mymaps:colour_distance" and cache.map_size == (8, 8)
    shot = manifest.shot("dog/0001")
    for t, cam in enumerate(cache.cams(shot.id)):
        cells = squashed(manifest.root / shot.path(t)).reshape(8, 8, 8, 8, 3).mean((1, 3))
        border = np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]]).mean(0)
        assert np.abs(cam - unit(np.linalg.norm(cells - border, axis=-1))).max() < 1e-3
    theirs = CamCache.open(small_cache).stats(shot.id).logits
    assert cache.stats(shot.id).logits == pytest.approx(theirs, abs=1e-4)
    assert train_decoder(decoder_config(cache="cache", root=root)).epochs == 1


def red(frames, tags):
    return frames[:, ::8, ::8, 0] / 255


def test_from_python_the_function_itself_is_given(build_config):
    report = build_cache(build_config(maps=red, shard="0/4", every=2))
    cache = CamCache.open(build_config().out)
    assert cache.settings["method"] == f"{__name__}:red" and cache.settings["every"] == 2
    assert 0 < report.built_frames < report.frames < 35


def test_a_dry_run_says_the_size_of_the_function_s_maps(build_config, mymaps):
    mymaps(RED)
    report = build_cache(build_config(maps="mymaps:red", dry_run=True))
    assert report.bytes == 35 * (2 * 64 + 4 * 6) and not build_config().out.exists()


def test_several_processes_import_it_by_its_name_and_store_the_same(build_config, mymaps, same_arrays):
    mymaps(RED)
    one, two = (build_config(maps="mymaps:red", jobs=jobs, out=Path(f"{jobs}")) for jobs in (1, 2))
    assert build_cache(one).built_frames == build_cache(two).built_frames == 35
    same_arrays(two.out.absolute(), one.out.absolute())


def test_another_function_or_another_source_is_refused_by_name(build_config, mymaps, small_cache):
    mymaps(RED)
    build_cache(build_config(maps="mymaps:red", shard="0/11"))
    settings = CamCache.open(build_config().out).settings
    assert settings.keys() == CamCache.open(small_cache).settings.keys() - {"layers"} | {"source"}
    mymaps(RED.replace("0.5", "0.6") + "pink = red\n")
    with pytest.raises(CacheError, match="sha256") as caught:
        build_cache(build_config(maps="mymaps:red"))
    assert [line.partition(":")[0] for line in caught.value.offenders] == ["source"]
    with pytest.raises(CacheError, match="method: mymaps:pink, not mymaps:red"):
        build_cache(build_config(maps="mymaps:pink"))


FRAGILE = RED + "red.version = 1\nseen = red\ndef fragile(frames, tags):\n    if 'dog' in tags:\n        {}\n"
FRAGILE += "    return red(frames, tags)\nfragile.version = 1\n"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise ValueError('no dogs')", "mymaps:fragile raised ValueError: no dogs"),
        ("return frames", "mymaps:fragile gave torch.uint8"),
        ("return red(frames, tags)[:, :5]", "cannot be stored"),
    ],
)
def test_a_function_that_fails_at_a_shot_loses_no_finished_one(build_config, mymaps, fault, said):
    mymaps(FRAGILE.format(fault))
    with pytest.raises((MapError, CacheError), match=said) as caught:
        build_cache(build_config(maps="mymaps:fragile"))
    assert "shot dog/0001: " in caught.value.message or "shot 'dog/0001'" in caught.value.message
    assert CamCache.open(build_config().out).missing() == ("dog/0001", "dog/0002")
    mymaps(FRAGILE.format("pass"))
    assert build_cache(build_config(maps="mymaps:fragile")).built_frames == 4 + 3


def test_maps_of_two_sizes_in_one_shot_are_refused(build_config, mymaps):
    # Its five frames come in batches of three and two; those of the shots before in batches of three and one.
    mymaps("def one(frames, tags):\n    return frames[:, :: 8 + len(frames) % 2 * 8, ::8, 0] / 255\n")
    with pytest.raises(MapError, match=r"shot car/0001/001: got maps of the sizes \[\(4, 8\), \(8, 8\)\]"):
        build_cache(build_config(maps="mymaps:one", batch_size=4))


def test_what_never_works_is_refused_before_anything_is_written(build_config, mymaps):
    mymaps("def one(frames, tags):\n    return frames.mean((1, 2, 3))\n")
    for maps in ("mymaps:one", "mymaps:two"):
        with pytest.raises((MapError, ConfigError), match="mymaps"):
            build_cache(build_config(maps=maps))
    assert not build_config().out.exists()


def test_flat_maps_are_counted(build_config, mymaps, caplog):
    mymaps("import numpy as np\ndef one(frames, tags):\n    return np.ones((len(frames), 4, 4))\n")
    with caplog.at_level(logging.WARNING):
        assert build_cache(build_config(maps="mymaps:one", shard="0/11")).flat_maps == 6
    assert "6 of 6 new maps are flat" in caplog.text


def test_the_command_line_says_it_in_one_message(fails, build, mymaps):
    mymaps(FRAGILE.format("raise StopIteration('no dogs')"))
    error = fails(*build, "--maps", "mymaps:fragile")
    assert "shot dog/0001: the map function mymaps:fragile raised StopIteration: no dogs" in error
    assert "mymaps.py, line 7: raise StopIteration('no dogs')" in error


def test_a_cached_map_is_the_score_cam_of_torch_cam(build_config, small_manifest, small_classifier):
    torch_cam = pytest.importorskip("torchcam.methods")
    # The second shot alone, which has one frame: a forward pass for each of 64 channels.
    given = {"maps": "torchcam:ScoreCAM", "layers": "features.0", "shard": "1/11"}
    assert build_cache(build_config(**given)).built_frames == 1
    cache, manifest = CamCache.open(build_config().out), read_manifest(small_manifest)
    shot = manifest.shot("bird/0001/002")
    classifier = read_classifier_file(small_classifier).classifier("best_localization")
    images = torch.from_numpy(squashed(manifest.root / shot.path(0))).permute(2, 0, 1)[None] / 255
    with torch_cam.ScoreCAM(classifier, classifier.layers()["features.0"]) as extractor:
        (theirs,) = extractor(classifier.classes.index("bird"), classifier(images))
    assert np.abs(cache.cams(shot.id)[0] - unit(theirs[0].numpy())).max() < 1e-3
    assert cache.settings["layers"] == ["features.0"] and cache.settings["source"].startswith("torchcam ")
