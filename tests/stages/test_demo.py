"""Tests of the demo's stages one after another, on a few frames in place of the embedded data set."""

import shutil
from dataclasses import replace

import pytest

from tcam_cache.config import DemoConfig
from tcam_cache.errors import ManifestError
from tcam_cache.stages import demo


@pytest.fixture
def run_small(monkeypatch, small_data, quick, many_seeds, tmp_path):
    """Return a function that runs the demo on `small_data`, with networks that learn nothing in a second."""
    settings = {
        "classifier": {"preset": "paper", "arch": "squeezenet1_1", "weights": "none", "epochs": 1, **quick},
        "build": {"preset": "paper", **quick},
        "train": {**many_seeds, "epochs": 1, "decoder_width": 0.125, "landmarks": 16, **quick},
    }
    evaluate = demo.evaluate
    monkeypatch.setattr(demo, "FROM_SCRATCH", settings)
    monkeypatch.setattr(demo, "is_packaged", lambda arch: False)
    monkeypatch.setattr(demo, "write_demo", lambda folder, seed: shutil.copytree(small_data, folder))
    small = {"map_size": 64, "workers": 0, "overlays": 0}
    monkeypatch.setattr(demo, "evaluate", lambda config, *more: evaluate(replace(config, **small), *more))
    return lambda: demo.run_demo(DemoConfig(out=tmp_path / "demo", device="cpu"))


def test_every_stage_leaves_its_product_and_a_second_call_takes_what_is_there(run_small, tmp_path):
    report = run_small()
    out = tmp_path / "demo"
    assert {path.name for path in out.iterdir()} >= {
        "data", "manifest.jsonl", "g.pt", "cache", "run", "report_layercam", "report", "shot.png"
    }  # fmt: skip
    first, *rows, last = report.to_text().splitlines()
    assert first.startswith("CorLoc on test") and last.endswith(f"open {out / 'report'}/index.html")
    for row, score in zip(rows, (report.layercam, report.tcam), strict=True):
        assert row.split()[-1] == f"{score.metrics.mean_iou:.3f}"
    page = (out / "report" / "index.html").read_text()
    assert "LayerCAM, as cached" in page
    finished = ["g.pt", "run/best.pt", "run/log.jsonl"]
    before = [(out / name).read_bytes() for name in finished]
    again = run_small()
    assert [(out / name).read_bytes() for name in finished] == before
    for ours, theirs in ((again.layercam, report.layercam), (again.tcam, report.tcam)):
        assert ours.metrics.policies == theirs.metrics.policies


def test_a_folder_that_holds_anything_else_is_refused_before_any_work(run_small, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.tex").write_text("mine")
    with pytest.raises(ManifestError, match="not a demo") as caught:
        run_small()
    assert caught.value.offenders == ("thesis.tex",)
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["thesis.tex"]
