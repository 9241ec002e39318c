import dataclasses
import functools
import inspect
import json
from pathlib import Path

import pytest

from tcam_cache import config
from tcam_cache.config import (
    BuildConfig,
    ClassifierConfig,
    EvaluateConfig,
    FitConfig,
    InspectConfig,
    ManifestConfig,
    PredictConfig,
    SearchConfig,
    TrainConfig,
    VerifyConfig,
    search_config,
    train_config,
)
from tcam_cache.config.base import REMOVED, Config
from tcam_cache.config.classifier import OF_PROBE, OF_SGD
from tcam_cache.config.evaluate import THRESHOLDS, fixed_threshold
from tcam_cache.config.train import PRESETS
from tcam_cache.errors import ConfigError

CONFIGS = [kind for _, kind in inspect.getmembers(config, inspect.isclass) if issubclass(kind, Config)]
PLACES = {"manifest": Path("m.jsonl"), "cache": Path("cache"), "out": Path("run")}


def with_required(kind, **given):
    """Return a config of a kind, with something for each setting that has no default."""
    needed = {
        spec.name: (spec.metadata["choices"] or (Path("some/where"),))[0]
        for spec in dataclasses.fields(kind)
        if spec.default is dataclasses.MISSING
    }
    if kind is ManifestConfig:
        needed |= {"layout": "videos", "splits": Path("splits")}
    if kind is EvaluateConfig:
        needed["run"] = Path("run")
    if kind is BuildConfig:
        needed["run" if "map_size" in given else "classifier"] = Path("g.pt")
    if kind is ClassifierConfig:
        needed["fit"] = "probe" if {"probe_frames", "probe_total"} & set(given) else "sgd"
    if {"colour_crf", "colour_warmup"} & given.keys():
        needed |= {"colour_crf_weight": 1.0, "frames_together": 2}
    if given.get("backend") == "dask":
        needed["scheduler"] = "tcp://host:8786"
    if given.get("format") == "npz":
        needed["shot"] = "bird/0001/001"
    return kind(**{**needed, **given})


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_default_survives_json(kind):
    before = with_required(kind)
    text = json.dumps(before.to_json())
    assert kind.from_json(json.loads(text)) == before


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_setting_has_its_one_line_help_and_a_default_within_its_own_range(kind):
    for spec in dataclasses.fields(kind):
        assert spec.metadata["help"]
        assert "\n" not in spec.metadata["help"]
    with_required(kind)


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_setting_refuses_what_lies_just_outside_its_range(kind):
    for spec in dataclasses.fields(kind):
        minimum, maximum, choices = (spec.metadata[key] for key in ("minimum", "maximum", "choices"))
        outside = [minimum - 1] if minimum is not None else []
        outside += [maximum + 1] if maximum is not None else []
        outside += ["no such choice"] if choices else []
        for value in outside:
            with pytest.raises(ConfigError, match=rf"{spec.name}: got '?{value}'?, expected"):
                with_required(kind, **{spec.name: value})
        for value in (minimum, maximum, *choices):
            if value is not None:
                with_required(kind, **{spec.name: value})


def test_all_settings_out_of_range_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        TrainConfig(
            **PLACES, epochs=-1, batch_size=-3, lr=float("nan"), window="around", fg_top=1.5,
            cross_entropy="max", image_size=8, seed=-1,
        )  # fmt: skip
    assert sorted(caught.value.offenders) == [
        "batch_size: got -3, expected at least 1",
        "cross_entropy: got 'max', expected one of batch-mean, frame-sum",
        "epochs: got -1, expected at least 0",
        "fg_top: got 1.5, expected at most 1",
        "image_size: got 8, expected at least 32",
        "lr: got nan, expected at least 0",
        "seed: got -1, expected at least 0",
        "window: got 'around', expected one of before, after, both",
    ]
    assert caught.value.message == "TrainConfig has 8 setting(s) out of range."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": "10"}, "epochs: got '10', expected int"),
        ({"epochs": 2.5}, "epochs: got 2.5, expected int"),
        ({"epochs": True}, "epochs: got True, expected int"),
        ({"epochs": None}, "epochs: got None, expected int"),
        ({"lr": "fast"}, "lr: got 'fast', expected float"),
        ({"dilate": 1}, "dilate: got 1, expected bool"),
        ({"workers": "all"}, "workers: got 'all', expected int or NoneType"),
        ({"manifest": 3}, "manifest: got 3, expected Path"),
        ({"cache": 3}, "cache: got 3, expected Path or str"),
        ({"window": ["before"]}, "window: got ['before'], expected str"),
    ],
)
def test_a_value_of_another_type_is_named_with_the_type_expected(given, said):
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**{**PLACES, **given})
    assert caught.value.offenders == (said,)


def test_a_path_may_be_given_as_text_and_a_number_without_a_point():
    settings = TrainConfig(manifest="m.jsonl", cache="cache", out="run", root="data", lr=1)
    assert settings == TrainConfig(**PLACES, root=Path("data"), lr=1.0)
    assert settings.root == Path("data")
    assert isinstance(settings.out, Path)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://bucket/cams/", "s3://bucket/cams"),
        ("memory://cams", "memory://cams"),
        ("file:///data/cams", Path("/data/cams")),
        ("cams", Path("cams")),
        (Path("cams"), Path("cams")),
    ],
)
def test_a_cache_may_be_given_as_a_url_which_stays_text_through_json(given, kept):
    for settings in (
        TrainConfig(manifest="m", cache=given, out="run"),
        EvaluateConfig(manifest="m", cache=given, out="report"),
        InspectConfig(cache=given),
        VerifyConfig(cache=given),
    ):
        assert settings.cache == kept
        again = type(settings).from_json(json.loads(json.dumps(settings.to_json())))
        assert again == settings and type(again.cache) is type(kept)
    assert BuildConfig(manifest="m", classifier="g.pt", out=given).out == kept


def test_a_setting_that_is_no_cache_takes_no_url():
    with pytest.raises(ConfigError) as caught:
        TrainConfig(manifest=Path("s3://bucket/m"), cache="s3://bucket/cams", out="s3://bucket/run")
    assert caught.value.offenders == (
        "manifest: got the URL s3:/bucket/m, expected a path on this machine",
        "out: got the URL s3:/bucket/run, expected a path on this machine",
    )


def test_the_memory_of_one_process_cannot_be_built_by_several():
    with pytest.raises(ConfigError, match="memory://cams is the memory of one process"):
        BuildConfig(manifest="m", classifier="g.pt", out="memory://cams", jobs=2)


def test_text_that_is_not_a_path_stays_text():
    assert ClassifierConfig(manifest="m", out="g.pt", weights="none").weights == "none"


def test_unknown_settings_are_all_named():
    with pytest.raises(ConfigError) as caught:
        BuildConfig.from_json({**with_required(BuildConfig).to_json(), "epohcs": 3, "colour": "red"})
    assert caught.value.offenders == ("colour", "epohcs")


def test_removed_settings_are_read_where_they_are_off_and_all_named_where_they_are_on():
    stored = train_config(**PLACES).to_json()
    assert TrainConfig.from_json({**stored, **REMOVED}) == train_config(**PLACES)
    with pytest.raises(ConfigError, match="removed") as caught:
        TrainConfig.from_json({**stored, **REMOVED, "align": True, "second_cache": "other"})
    assert caught.value.offenders == ("align: True", "second_cache: other")


def test_missing_settings_are_all_named():
    with pytest.raises(ConfigError, match="TrainConfig needs") as caught:
        TrainConfig.from_json({"out": "run"})
    assert sorted(caught.value.offenders) == ["cache", "manifest"]


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        train_config(**PLACES).lr = 1.0


METHOD = {
    "recommended": {
        "fg_top": 0.3, "bg_low": None, "pixels": 100, "dilate": False, "cross_entropy": "batch-mean",
    },
    "paper": {"fg_top": 1.0, "bg_low": None, "pixels": 1, "dilate": False, "cross_entropy": "frame-sum"},
    "authors": {"fg_top": 0.6, "bg_low": 0.1, "pixels": 1, "dilate": True, "cross_entropy": "batch-mean"},
    "colocam": {
        "fg_top": 0.7, "bg_low": 0.1, "pixels": 1000, "dilate": True, "cross_entropy": "batch-mean",
    },
}  # fmt: skip
# What `recommended` alone decides, and what holds for the others.
RECIPE = {
    "optimiser": "adamw", "lr": 0.003, "schedule": "one-cycle", "steps": 300, "epochs": 0,
    "frames_per_shot": 0, "batch_size": 16, "select": "last", "validate_every": 5, "decoder_stride": 4,
    "dropout": 0.3, "mix": "geometric", "neighbours": 0,
}  # fmt: skip
COLOCAM = {
    "fg_region": "box", "middle": 0.6, "frames_together": 4, "crops": "frame", "neighbours": 0, "epochs": 10,
    "lr_step": 5, "colour_crf": "adaptive", "colour_crf_weight": 4.0, "colour_warmup": 0.5,
}  # fmt: skip
SHARED = {
    "neighbours": 1, "window": "before", "crf_weight": 2e-9, "lattice_gain": 0.6, "landmarks": 144,
    "asc_weight": 0.01, "barrier_t": 1.0, "barrier_growth": 1.01, "barrier_cap": 10.0, "lr": 0.01,
    "momentum": 0.9, "weight_decay": 1e-4, "lr_step": 15, "lr_decay": 0.9, "lr_floor": 1e-7, "epochs": 100,
    "batch_size": 32, "frames_per_shot": 1, "image_size": 224, "resize_size": 256, "select": "val",
    "validate_every": 1, "frames_together": 1, "decoder_stride": 1, "dropout": 0.0,
    "mix": "none", "colour_crf_weight": 0.0, "colour_crf": "fixed", "colour_warmup": 0.0,
    "fg_region": "blob", "middle": 1.0, "crops": "shot",
}  # fmt: skip


@pytest.mark.parametrize("preset", list(METHOD))
def test_a_preset_holds_exactly_the_published_numbers(preset):
    settings = train_config(preset, **PLACES)
    recipe = {"recommended": RECIPE, "colocam": COLOCAM}.get(preset, {})
    expected = {**SHARED, **METHOD[preset], **recipe, "preset": preset}
    assert {name: getattr(settings, name) for name in expected} == expected


def test_the_presets_are_those_the_method_names():
    assert set(PRESETS) == set(METHOD)
    choices = next(spec for spec in dataclasses.fields(TrainConfig) if spec.name == "preset")
    assert set(choices.metadata["choices"]) == set(PRESETS)


@pytest.mark.parametrize("preset", list(METHOD))
@pytest.mark.parametrize(
    "make",
    [
        lambda preset: TrainConfig(**PLACES, preset=preset),
        lambda preset: SearchConfig(**PLACES, preset=preset),
        lambda preset: search_config(preset, **PLACES),
        lambda preset: TrainConfig.from_json({"manifest": "m", "cache": "c", "out": "r", "preset": preset}),
        lambda preset: dataclasses.replace(TrainConfig(**PLACES, preset=preset), epochs=3, resume=True),
        lambda preset: TrainConfig.from_json(TrainConfig(**PLACES, preset=preset).to_json()),
    ],
    ids=["constructor", "search", "search_config", "its name alone", "replace", "json"],
)
def test_a_preset_is_applied_wherever_it_is_named(make, preset):
    settings = make(preset)
    expected = {**METHOD[preset], "preset": preset}
    assert {name: getattr(settings, name) for name in expected} == expected


def test_a_setting_is_the_given_one_even_where_it_is_the_usual_one():
    settings = TrainConfig(**PLACES, preset="authors", fg_top=0.1, bg_low=None, dilate=False)
    assert (settings.fg_top, settings.bg_low, settings.dilate, settings.pixels) == (0.1, None, False, 1)
    assert dataclasses.replace(settings, pixels=7).fg_top == 0.1


def test_one_preset_is_never_recorded_under_the_name_of_another():
    with pytest.raises(ConfigError, match="preset 'paper' with all the settings of 'recommended'"):
        dataclasses.replace(TrainConfig(**PLACES), preset="paper")


def test_a_run_of_old_that_bears_the_wrong_name_opens_as_what_it_was():
    stored = {**TrainConfig(**PLACES).to_json(), "preset": "paper"}
    assert TrainConfig.from_json(stored) == TrainConfig(**PLACES)


def test_a_run_of_the_preset_that_was_called_footage_opens_as_recommended():
    for given in ({}, {"fg_top": 0.1}):
        stored = {**TrainConfig(**PLACES, **given).to_json(), "preset": "footage"}
        assert TrainConfig.from_json(stored) == TrainConfig(**PLACES, **given)


def test_a_given_setting_wins_over_the_preset_and_leaves_its_others():
    settings = train_config("authors", **PLACES, pixels=7)
    assert (settings.pixels, settings.dilate, settings.fg_top) == (7, True, 0.6)


def test_a_batch_is_made_of_whole_clips():
    with pytest.raises(ConfigError, match=r"batches of 16 frames, 5 .*a multiple of --frames-together"):
        train_config(**PLACES, frames_together=5)
    assert train_config(**PLACES, frames_together=8).frames_together == 8


def test_a_colour_crf_needs_frames_to_share_their_colours():
    with pytest.raises(ConfigError, match=r"weight 2e-09 over frames alone.*--frames-together 2 or more"):
        train_config(**PLACES, colour_crf_weight=2e-9)
    assert train_config(**PLACES, colour_crf_weight=2e-9, frames_together=2).colour_crf_weight == 2e-9


def test_a_colour_crf_that_weighs_nothing_has_no_kind_and_no_warm_up():
    with pytest.raises(
        ConfigError, match=r"nothing with --colour-crf-weight 0 \(CoLo-CAM: 4 or 9\)"
    ) as caught:
        train_config(**PLACES, colour_crf="adaptive", colour_warmup=0.3)
    assert caught.value.offenders == ("--colour-crf: got adaptive", "--colour-warmup: got 0.3")
    alone = train_config("colocam", **PLACES, colour_crf_weight=0, frames_together=1)
    assert alone.colour_crf == "adaptive"


def test_a_run_from_before_the_colour_crf_was_adaptive_opens_as_what_it_was():
    later = {"middle", "crops", "fg_region", "colour_crf", "colour_warmup"}
    for preset in ("recommended", "paper", "authors"):
        stored = train_config(preset, **PLACES, frames_together=2, colour_crf_weight=2e-9).to_json()
        old = {name: value for name, value in stored.items() if name not in later}
        assert TrainConfig.from_json(old).to_json() == stored


def test_the_classifier_of_colocam_learns_from_the_middles_of_shots():
    middles = {preset: ClassifierConfig(manifest="m", out="g.pt", preset=preset).middle for preset in PRESETS}
    assert middles == {**dict.fromkeys(PRESETS, 1.0), "colocam": 0.6}


def test_an_unknown_preset_lists_those_that_exist():
    with pytest.raises(ConfigError, match=r"'best'.*recommended, paper, authors"):
        train_config("best", **PLACES)


def test_the_classifier_is_fitted_as_published():
    settings = ClassifierConfig(manifest="m", out="g.pt", preset="paper")
    assert (settings.lr, settings.lr_last_stage, settings.arch) == (0.001, 10.0, "resnet50")


@pytest.mark.parametrize(("image_size", "resize_size"), [(224, 256), (112, 128), (96, 110), (448, 512)])
def test_crops_are_taken_out_of_frames_an_eighth_larger(image_size, resize_size):
    assert FitConfig(manifest="m", image_size=image_size).resize_size == resize_size


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("0.5", 0.5), ("0.999", 0.999), ("1e-3", 0.001)])
def test_a_threshold_may_be_a_number_below_1(text, value):
    assert fixed_threshold(text) == value
    assert EvaluateConfig(manifest="m", out="o", run="r", threshold=text).threshold == text


@pytest.mark.parametrize("text", ["1", "-0.1", "nan", "inf", "best", "", "0.5px"])
def test_any_other_threshold_lists_what_there_is(text):
    with pytest.raises(ConfigError, match=r"val, oracle, oracle-per-class, otsu, or a number in \[0, 1\)"):
        EvaluateConfig(manifest="m", out="o", run="r", threshold=text)


@pytest.mark.parametrize("policy", THRESHOLDS)
def test_a_threshold_may_be_a_policy(policy):
    assert EvaluateConfig(manifest="m", out="o", run="r", threshold=policy).threshold == policy


@pytest.mark.parametrize("given", [{}, {"run": "r", "cache": "c"}])
def test_evaluation_takes_a_run_or_a_cache(given):
    with pytest.raises(ConfigError, match="exactly one of --run and --cache"):
        EvaluateConfig(manifest="m", out="o", **given)


@pytest.mark.parametrize("given", [{}, {"run": "r", "classifier": "g.pt"}])
def test_a_build_takes_a_classifier_or_a_run(given):
    with pytest.raises(ConfigError, match="exactly one of --classifier and --run"):
        BuildConfig(manifest="m", out="c", **given)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("method", "cam", "--method: got cam"),
        ("layers", "layer3", "--layers: got layer3"),
        ("target", "prediction", "--target: got prediction"),
        ("image_size", 96, "--image-size: got 96"),
        ("compile", True, "--compile: got True"),
        ("amp", "bf16", "--amp: got bf16"),
    ],
)
def test_what_only_a_classifier_has_a_use_for_is_refused_with_a_run(name, value, said):
    places = {"manifest": "m", "out": "c"}
    with pytest.raises(ConfigError, match="mean nothing with --run") as caught:
        BuildConfig(**places, run="r", **{name: value})
    assert caught.value.offenders == (said,)
    default = next(spec.default for spec in dataclasses.fields(BuildConfig) if spec.name == name)
    BuildConfig(**places, run="r", **{name: default})
    BuildConfig(**places, classifier="g.pt", **{name: value})


def saliency(frames, tags):
    return frames[..., 0] / 255


MAPS = {"manifest": "m", "out": "c", "classifier": "g.pt"}


def test_a_map_function_is_given_by_its_name_or_itself_and_kept_by_its_name():
    given = BuildConfig(**MAPS, maps=saliency)
    assert given == BuildConfig(**MAPS, maps=f"{__name__}:saliency")
    assert BuildConfig.from_json(json.loads(json.dumps(given.to_json()))) == given
    assert BuildConfig(**MAPS, maps=Config).maps == "tcam_cache.config.base:Config"


@pytest.mark.parametrize("maps", [lambda frames, tags: frames, functools.partial(saliency)])
def test_a_map_function_that_cannot_be_imported_by_a_name_is_refused(maps):
    with pytest.raises(ConfigError, match="expected a function or a class that has a name in a module"):
        BuildConfig(**MAPS, maps=maps)


@pytest.mark.parametrize(
    "text", ["", "mymaps", "mymaps:", ":one", "my maps:one", "maps.py/one", "a:b.c", "a:b:c"]
)
def test_maps_that_name_nothing_are_refused(text):
    with pytest.raises(ConfigError, match=r"expected MODULE:NAME.*torchcam:METHOD or gradcam:METHOD"):
        BuildConfig(**MAPS, maps=text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "cam"),
        ("fuse", "mean"),
        ("scales", "1,2"),
        ("flip", True),
        ("compile", True),
        ("amp", "bf16"),
    ],
)
def test_what_only_the_cams_of_this_package_have_a_use_for_is_refused_with_maps(name, value):
    for maps in ("mymaps:one", "torchcam:ScoreCAM"):
        with pytest.raises(ConfigError, match=f"mean nothing with --maps {maps}") as caught:
            BuildConfig(**MAPS, maps=maps, **{name: value})
        assert caught.value.offenders == (f"--{name}: got {value}",)
    BuildConfig(**MAPS, maps="mymaps:one", image_size=96, target="prediction", every=2)


def test_layers_are_for_the_methods_of_packages():
    assert BuildConfig(**MAPS, maps="gradcam:AblationCAM", layers="layer3").layers == "layer3"
    with pytest.raises(ConfigError, match="mean nothing with --maps mymaps:one"):
        BuildConfig(**MAPS, maps="mymaps:one", layers="layer3")


def test_maps_go_with_a_classifier():
    with pytest.raises(ConfigError, match="--maps goes with --classifier"):
        BuildConfig(manifest="m", out="c", maps="mymaps:one")
    with pytest.raises(ConfigError, match="mean nothing with --run") as caught:
        BuildConfig(manifest="m", out="c", run="r", maps="mymaps:one")
    assert caught.value.offenders == ("--maps: got mymaps:one",)


def test_the_size_of_a_run_s_maps_is_refused_with_a_classifier_whose_cams_have_their_own():
    with pytest.raises(ConfigError, match="mean nothing with --classifier") as caught:
        BuildConfig(manifest="m", out="c", classifier="g.pt", map_size=28)
    assert caught.value.offenders == ("--map-size: got 28",)
    assert BuildConfig(manifest="m", out="c", run="r", map_size=28).map_size == 28


def test_a_threshold_for_prediction_is_a_number():
    assert PredictConfig(run="r", source="i", out="o", threshold=0.25).threshold == 0.25


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layout": "wsol"}, "--splits"),
        ({"layout": "ytov1", "annotations": "boxes.csv"}, "brings its own boxes"),
        ({"layout": "wsol", "splits": "s", "annotations": "boxes.csv"}, "brings its own boxes"),
        ({"layout": "folders", "fps": 2.0}, "for video files"),
        ({"layout": "folders", "shots": False}, "for video files"),
        ({"layout": "videos", "write_splits": "s"}, "list images"),
    ],
)
def test_options_of_one_layout_are_refused_with_another(given, said):
    with pytest.raises(ConfigError, match=said):
        ManifestConfig(source="data", out="m.jsonl", **given)


def test_what_means_nothing_beside_a_fit_is_refused_by_name():
    places = {"manifest": "m", "out": "g.pt"}
    steps = {"epochs": 3, "lr": 0.5, "frames_per_shot": 2, "optimiser": "adamw", "momentum": 0.5}
    with pytest.raises(ConfigError, match="mean nothing with --fit probe") as caught:
        ClassifierConfig(**places, fit="probe", **steps)
    assert sorted(caught.value.offenders) == [
        "--epochs: got 3", "--frames-per-shot: got 2", "--lr: got 0.5", "--momentum: got 0.5",
        "--optimiser: got adamw",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="mean nothing with --fit sgd") as caught:
        ClassifierConfig(**places, fit="sgd", probe_frames=8)
    assert caught.value.offenders == ("--probe-frames: got 8",)
    assert ClassifierConfig(**places, fit="probe", probe_frames=8, resume=True, freeze_backbone=True)


def test_every_setting_of_the_fit_by_steps_exists_and_is_idle_beside_a_probe():
    of_classifier = {spec.name for spec in dataclasses.fields(ClassifierConfig)}
    assert set(OF_SGD) | set(OF_PROBE) < of_classifier
    # What the two fits share: data, the network, how frames are read, what is scored and where it goes.
    assert of_classifier - set(OF_SGD) - set(OF_PROBE) == {
        "manifest", "root", "workers", "device", "seed", "out", "arch", "weights", "output_stride", "dilated",
        "image_size", "batch_size", "train_split", "val_split", "fit", "preset", "loss", "freeze_backbone",
        "resume", "middle",
    }  # fmt: skip
