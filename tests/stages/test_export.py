"""Tests of exporting a cache and one shot of it, and of going on from the exported file."""

import json

import numpy as np
import pytest

from tcam_cache.cache import CamCache
from tcam_cache.config import ExportConfig
from tcam_cache.errors import CacheError, RunError
from tcam_cache.inference import graph
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.export import export_cache, export_run
from tcam_cache.stages.train import train_decoder


@pytest.fixture
def exported(small_cache, tmp_path):
    """The small cache as an HDF5 file."""
    export_cache(ExportConfig(cache=small_cache, format="h5", out=tmp_path / "x.h5"))
    return tmp_path / "x.h5"


def test_the_file_opens_as_the_same_cache(small_cache, exported, same_arrays):
    same_arrays(exported, small_cache)
    assert CamCache.open(exported).digest() == CamCache.open(small_cache).digest()


def test_there_is_a_way_back_to_a_folder(small_cache, exported, same_arrays, tmp_path):
    report = export_cache(ExportConfig(cache=exported, format="zarr", out=tmp_path / "back"))
    assert (report.shots, report.frames) == (11, 35)
    same_arrays(tmp_path / "back", small_cache)
    there = {file.relative_to(small_cache) for file in small_cache.rglob("*.json")}
    assert {file.relative_to(tmp_path / "back") for file in (tmp_path / "back").rglob("*.json")} >= there
    assert report.bytes == sum(
        file.stat().st_size for file in (tmp_path / "back").rglob("*") if file.is_file()
    )


def test_an_incomplete_cache_exports_what_is_finished_and_says_so(build_config, tmp_path):
    build_cache(build_config(shard="0/2"))
    report = export_cache(ExportConfig(cache=build_config().out, format="h5", out=tmp_path / "x.h5"))
    assert (report.shots, report.missing) == (6, 5)
    assert "5 shots are not finished, and left out" in report.to_text()
    assert len(CamCache.open(tmp_path / "x.h5").missing()) == 5


def test_training_and_scoring_from_the_file_give_the_same(
    small_cache, exported, decoder_config, evaluate_config, tmp_path
):
    logs = []
    for name, cache in (("folder", small_cache), ("file", exported)):
        train_decoder(decoder_config(cache=cache, out=tmp_path / name))
        (epoch,) = map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
        logs.append({key: value for key, value in epoch.items() if "seconds" not in key})
    assert logs[0] == logs[1]
    scores = [
        evaluate(evaluate_config(cache=cache, out=tmp_path / f"report{number}")).metrics.corloc
        for number, cache in enumerate((small_cache, exported))
    ]
    assert scores[0] == scores[1]


def test_one_shot_becomes_plain_arrays(small_cache, tmp_path):
    out = tmp_path / "folder/shot.npz"
    report = export_cache(ExportConfig(cache=small_cache, shot="dog/0002", format="npz", out=out))
    assert (report.shots, report.frames, report.bytes) == (1, 3, out.stat().st_size)
    cache = CamCache.open(small_cache)
    with np.load(out, allow_pickle=False) as arrays:
        assert arrays["cams"].dtype == np.float16
        assert np.array_equal(arrays["cams"], cache.cams("dog/0002"))
        for name, values in vars(cache.stats("dog/0002")).items():
            assert np.array_equal(arrays[name], values) and arrays[name].dtype == values.dtype
        assert arrays["classes"].tolist() == list(cache.classes)
        assert arrays["frames"].tolist() == ["frame0001.jpg", "frame0002.jpg", "frame0003.jpg"]
        assert (str(arrays["tag"]), str(arrays["shot"])) == ("dog", "dog/0002")
        assert str(arrays["fingerprint"]) == cache.fingerprint


def test_a_shot_that_is_not_there_or_not_finished_is_named(build_config, tmp_path):
    build_cache(build_config(shard="0/2"))
    for shot, reason in (("dog/0009", "no shot 'dog/0009'"), ("dog/0001", "'dog/0001' is not finished")):
        with pytest.raises(CacheError, match=reason):
            export_cache(
                ExportConfig(cache=build_config().out, shot=shot, format="npz", out=tmp_path / "x.npz")
            )
    assert not (tmp_path / "x.npz").exists()


def test_the_report_of_a_run_says_what_goes_into_the_program_and_comes_out(small_run, tmp_path, monkeypatch):
    # What is in the file: tests/inference/test_graph.py.
    monkeypatch.setattr(graph, "write_torch_export", lambda run, path: path.write_bytes(b"program"))
    out = tmp_path / "run.pt2"
    report = export_run(ExportConfig(cache=small_run, format="torch-export", out=out))
    assert out.read_bytes() == b"program" and report.bytes == 7
    assert report.inputs == {"frames": "(B, 3, 64, 64) uint8"}
    assert report.outputs == ("scores", "decoder", "logits")
    assert report.to_text().startswith(f"{out}: frames (B, 3, 64, 64) uint8 -> scores, decoder, logits; ")


def test_only_a_run_becomes_a_graph(small_cache, tmp_path):
    with pytest.raises(RunError):
        export_run(ExportConfig(cache=small_cache, format="onnx", out=tmp_path / "x.onnx"))
    assert not list(tmp_path.iterdir())
