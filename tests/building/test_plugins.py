"""Tests of map functions by name: what they are given, what they may answer, and what is wrong with one."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from tcam_cache.building.plugins import open_plugin
from tcam_cache.errors import ConfigError, DeviceError, ExtraError, MapError
from tcam_cache.models import seeded_classifier

CLASSES = ("bird", "car")
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
IMAGES = torch.from_numpy(FRAMES).permute(0, 3, 1, 2) / 255


@pytest.fixture(scope="module")
def classifier():
    model = seeded_classifier("squeezenet1_1", CLASSES, None, seed=0)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    return model.freeze()


@pytest.fixture
def plugin(classifier, tmp_path, monkeypatch):
    """Return a function that writes mymaps.py into the current folder, and opens `one` of it, or another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text, name="mymaps:one"):
        sys.modules.pop("mymaps", None)
        (tmp_path / "mymaps.py").write_text(f"import numpy as np\nimport torch\nSEEN = []\n{text}\n")
        return open_plugin(name, classifier, ["last"])

    yield write
    sys.modules.pop("mymaps", None)


def answering(text):
    return f"def one(frames, tags):\n    return {text}"


def asked(plugin, targets=0):
    with torch.inference_mode():
        return plugin(IMAGES, targets)


def test_a_function_is_given_the_very_frames_and_the_names_of_the_classes(plugin, classifier):
    maps = plugin("def one(*given):\n    SEEN.append(given)\n    return given[0][..., 0] * 0.5")
    _, logits = asked(maps, 1)
    asked(maps, "prediction")
    (frames, tags), (again, predicted) = sys.modules["mymaps"].SEEN
    assert frames.dtype == np.uint8 and frames.flags.c_contiguous and np.array_equal(frames, FRAMES)
    assert tags == ["car", "car"] and np.array_equal(again, FRAMES)
    assert predicted == [CLASSES[index] for index in classifier(IMAGES).argmax(1)]
    torch.testing.assert_close(logits, classifier(IMAGES))


def test_maps_are_scaled_to_their_own_extremes_and_constant_ones_are_flat(plugin):
    cams, _ = asked(plugin(answering("np.array([[[1.0, 3.0, 2.0]], [[7.0, 7.0, 7.0]]])")))
    assert cams.maps.tolist() == [[[0, 1, 0.5]], [[0, 0, 0]]]
    assert (cams.raw_min.tolist(), cams.raw_max.tolist()) == ([1, 7], [3, 7])
    assert cams.flat.tolist() == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "frames[:, ::-1, ::-1, 0].astype('float16')[:, ::-1, ::-1]",
        "torch.from_numpy(frames)[..., 0].double()",
        "torch.from_numpy(frames)[..., 0].bfloat16().requires_grad_()",
        "[[[float(value) for value in row] for row in frame] for frame in frames[..., 0]]",
    ],
)
def test_any_array_of_floating_point_numbers_is_taken(plugin, text):
    cams, _ = asked(plugin(answering(text)))
    low, high = (FRAMES[..., 0].min((1, 2), keepdims=True), FRAMES[..., 0].max((1, 2), keepdims=True))
    wanted = (FRAMES[..., 0] - low.astype(float)) / (high - low)
    assert np.abs(cams.maps.numpy() - wanted).max() < 0.005


def test_a_class_is_made_once_with_the_classifier_and_its_objects_are_called(plugin, classifier):
    maps = plugin(
        "class one:\n"
        "    def __init__(self, classifier):\n"
        "        SEEN.append(classifier)\n"
        "    def __call__(self, frames, tags):\n"
        "        return frames[..., 0] / 255"
    )
    asked(maps), asked(maps)
    assert [classifier] == sys.modules["mymaps"].SEEN


def test_a_function_may_differentiate_whatever_the_mode_of_the_build(plugin):
    text = (
        "def one(frames, tags):\n"
        "    values = torch.from_numpy(frames).float().requires_grad_()\n"
        "    return torch.autograd.grad((values**2).sum(), values)[0].sum(-1)"
    )
    cams, _ = asked(plugin(text))
    total = FRAMES.sum(-1, dtype=float)
    assert cams.raw_max.tolist() == (2 * total.max((1, 2))).tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frames / 255", r"float64 of shape \(2, 32, 32, 3\)"),
        ("frames[:1, ..., 0] / 255", r"float64 of shape \(1, 32, 32\)"),
        ("frames[:, :1, :1, 0] / 255", r"float64 of shape \(2, 1, 1\)"),
        ("frames[..., 0]", r"uint8 of shape \(2, 32, 32\)"),
        ("frames[..., 0] * 1j", r"complex128 of shape \(2, 32, 32\)"),
        ("None", "a NoneType that is no array of numbers"),
        ("[[1.0, 2.0], [3.0]]", "a list that is no array of numbers"),
        (
            "np.stack([np.zeros((4, 4)), np.full((4, 4), np.nan)])",
            r"NaN or infinite values in map\(s\) 1 of 2",
        ),
        (
            "np.stack([np.full((4, 4), np.inf), np.zeros((4, 4))])",
            r"NaN or infinite values in map\(s\) 0 of 2",
        ),
    ],
)
def test_what_are_no_maps_is_named_with_what_was_expected(plugin, text, said):
    with pytest.raises(MapError, match=rf"mymaps:one gave .*{said}; expected finite .*\(2, h, w\)"):
        asked(plugin(answering(text)))


def test_what_a_function_raises_is_told_with_its_line(plugin, tmp_path):
    maps = plugin("def one(frames, tags):\n    return two()\ndef two():\n    raise KeyError('no such cat')")
    with pytest.raises(MapError, match=r"mymaps:one raised KeyError: 'no such cat'\. Correct it") as caught:
        asked(maps)
    file = tmp_path / "mymaps.py"
    assert caught.value.offenders == (
        f"{file}, line 5: return two()",
        f"{file}, line 7: raise KeyError('no such cat')",
    )
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_named_error_of_this_package_stays_what_it_is(plugin):
    text = (
        "from tcam_cache import DeviceError\ndef one(frames, tags):\n    raise DeviceError('no such device.')"
    )
    with pytest.raises(DeviceError, match=r"^no such device\.$"):
        asked(plugin(text))


@pytest.mark.parametrize(
    ("text", "name", "kind", "said"),
    [
        (
            "",
            "mymap:one",
            ConfigError,
            "cannot import the module mymap .*ModuleNotFoundError.*current folder",
        ),
        ("def", "mymaps:one", ConfigError, "cannot import the module mymaps .*SyntaxError"),
        ("1 / 0", "mymaps:one", ConfigError, "cannot import the module mymaps .*ZeroDivisionError"),
        ("def saliency(): ...", "mymaps:salience", ConfigError, "has no salience. Did you mean saliency?"),
        ("", "mymaps:one", ConfigError, "has no one. Those that it has: none"),
        ("one = 3", "mymaps:one", ConfigError, "has a int, no function or class, of name one"),
        (
            "class one: ...",
            "mymaps:one",
            MapError,
            r"mymaps:one raised TypeError: one\(\) takes no arguments",
        ),
        ("class one:\n def __init__(self, c): ...", "mymaps:one", ConfigError, "cannot be called. Give the"),
        ("", "torchcm:ScoreCAM", ConfigError, "Did you mean torchcam"),
    ],
)
def test_a_name_that_leads_to_no_map_function_is_refused(plugin, text, name, kind, said):
    with pytest.raises(kind, match=said):
        plugin(text, name)


def test_another_source_is_told_apart_unless_a_version_stands_for_it(plugin):
    first, second = answering("frames[..., 0] / 255"), answering("frames[..., 1] / 255")
    found = [plugin(text).settings["source"] for text in (first, second, first)]
    assert found[0] == found[2] != found[1] and found[0].startswith("sha256 ")
    versions = [plugin(f"{text}\none.version = 2").settings["source"] for text in (first, second)]
    assert versions == ["version 2", "version 2"]
    of_object = (
        "class one:\n    version = '3'\n    def __init__(self, c): ...\n    def __call__(self, f, t): ..."
    )
    assert plugin(of_object).settings == {"source": "version 3"}


def test_the_source_is_also_that_of_the_module_which_defines_what_another_names(plugin, tmp_path):
    found = []
    for channel in (0, 1):
        (tmp_path / "inner.py").write_text(answering(f"frames[..., {channel}] / 255"))
        found.append(plugin("from inner import one").settings["source"])
        del sys.modules["inner"]
    assert found[0] != found[1]


def test_without_a_source_and_a_version_nothing_could_tell_caches_apart(plugin, monkeypatch):
    module = ModuleType("typed_in")
    exec("def one(frames, tags): ...", vars(module))
    monkeypatch.setitem(sys.modules, "typed_in", module)
    with pytest.raises(ConfigError, match="the source of --maps typed_in:one cannot be read"):
        plugin("", "typed_in:one")
    module.one.version = 1
    assert plugin("", "typed_in:one").settings == {"source": "version 1"}


@pytest.mark.parametrize(
    ("package", "module"), [("torchcam", "torchcam.methods"), ("gradcam", "pytorch_grad_cam")]
)
def test_a_package_that_is_missing_is_named_with_its_extra(plugin, monkeypatch, package, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraError, match=rf'package {module}, .*pip install "tcam-cache\[{package}\]"'):
        plugin("", f"{package}:ScoreCAM")
