"""What each part of the methods gives on videos that were not learned from: ablation, CAM-TMP, CoLo-CAM.

python tests/benchmarks/bench_trial.py DATA OUT [key=value ...]

DATA and its folds are those of bench_real_video.py; the settings are those of `locate --effort quick` without
its stricter seeds, and a row changes what it names in `train` (and, for `--middle`, in the classifier).
A line a row: CorLoc at tau 0.5 of the decoder alone and of the mix, means over videos and seeds, each with
the difference to the first row, paired by video and seed, and its 95 % interval by bootstrap over videos.
Options: `rows=name,name seeds=1 folds=0,1 thin=2`, and options of `train` for every row, such as `amp=bf16`;
`rows` that are done cost nothing when it is run again.
"""

import json
import sys
from pathlib import Path

import numpy as np
from bench_real_video import ALL, FOLDS, by_video, folds_of, interval, run_fold, unite

from tcam_cache import EvaluateConfig
from tcam_cache.config.locate import EFFORTS
from tcam_cache.datasets.frames import open_data
from tcam_cache.inference.maps import annotated_frames
from tcam_cache.inference.scoring import sweep_maps
from tcam_cache.inference.targets import open_target

HALF = np.array([0.5])
TOGETHER = {"frames_together": 2}
ADAPTIVE = {**TOGETHER, "colour_crf": "adaptive"}
SEEDS = {"pixels": 1000, "fg_top": 0.7, "bg_low": 0.1, "dilate": True}
ROWS = {
    "recommended": {},
    "C+ C- alone": {"crf": False, "asc": False},
    "+ CRF": {"asc": False},
    "+ ASC": {"crf": False},
    "n = 1": {"neighbours": 1},
    "n = 2": {"neighbours": 2},
    "n = 4": {"neighbours": 4},
    "n = 10": {"neighbours": 10},
    "middle 0.6": {"middle": 0.6},
    "filled box": {"fg_region": "box"},
    "largest": {"fg_region": "largest"},
    "1000 seeds": SEEDS,
    "2 frames": TOGETHER,
    "colour 0.25": {**ADAPTIVE, "colour_crf_weight": 0.25},
    "colour 1": {**ADAPTIVE, "colour_crf_weight": 1},
    "colour 4": {**ADAPTIVE, "colour_crf_weight": 4},
    "colour 9": {**ADAPTIVE, "colour_crf_weight": 9},
    "colour 0.25 warm": {**ADAPTIVE, "colour_crf_weight": 0.25, "colour_warmup": 0.5},
    "colour 1 warm": {**ADAPTIVE, "colour_crf_weight": 1, "colour_warmup": 0.5},
    "colour 4 warm": {**ADAPTIVE, "colour_crf_weight": 4, "colour_warmup": 0.5},
    "colour 9 warm": {**ADAPTIVE, "colour_crf_weight": 9, "colour_warmup": 0.5},
    "colocam": {
        **ADAPTIVE, **SEEDS, "colour_crf_weight": 4, "colour_warmup": 0.5, "crops": "frame",
        "fg_region": "box", "middle": 0.6,
    },
}  # fmt: skip


def options_of(changed, common):
    """Return the options of each stage for a row."""
    quick = EFFORTS["quick"]
    train = {key: value for key, value in quick["train"].items() if key != "fg_top"}
    return {
        "classifier": {**quick["classifier"], "middle": changed.get("middle", 1.0)},
        "build": quick["build"],
        "train": {**train, **common, **changed},
        "evaluate": {},
    }


def rows_at_half(report, manifest, split, run):
    """Return what `rows_of` does, of boxes at tau 0.5 alone."""
    stored = report / "half.json"
    if not stored.exists():
        config = EvaluateConfig(manifest=manifest, split=split, run=run, out=report)
        target, whole = open_target(config, *open_data(config), 0)
        maps = target.maps(annotated_frames(whole.split(split)))
        swept = sweep_maps(maps, target.classes, config.boxes, HALF, 0)
        plain = {
            name or "mix": [
                [one.video, one.tag, one.predicted_tag, {"0.5": float(one.ious[0])}] for one in of_kind
            ]
            for name, of_kind in swept.items()
        }
        report.mkdir(exist_ok=True)
        stored.write_text(json.dumps(plain))
    return json.loads(stored.read_text())


def table_of(out, name, wanted, folds, seeds, common):
    """Run a row; return {kind of map: (seeds, videos) CorLoc, videos by name}."""
    word = "_".join([name.replace(" ", "_"), *(f"{key}-{value}" for key, value in common.items())])
    options = options_of(ROWS[name], common)
    cams = "-middle" if "middle" in ROWS[name] else ""
    parts = [run_fold(out, fold, folds, seeds, options, word, cams, rows_at_half) for fold in wanted]
    table = {}
    for kind in ("decoder", "mix"):
        of_seeds = [by_video([row for part in parts for row in part[kind, seed]], "0.5") for seed in seeds]
        table[kind] = np.array([[one[video][0] for video in sorted(one)] for one in of_seeds])
    return table


def main():
    """Run the rows, and print a line each."""
    data, out, *given = sys.argv[1:]
    data, out = Path(data), Path(out)
    values = dict(one.split("=", 1) for one in given)
    seeds, thin = range(int(values.pop("seeds", 1))), int(values.pop("thin", 2))
    wanted = values.pop("folds", ",".join(map(str, range(FOLDS)))).split(",")
    rows = values.pop("rows", ",".join(ROWS)).split(",")
    if not (out / "data/annotations.csv").exists():
        unite(data, out / "data", thin)
    folds = folds_of(out / "data")
    wanted = [ALL if one == ALL else int(one) for one in wanted]
    first = None
    for name in rows:
        table = table_of(out, name, wanted, folds, seeds, values)
        first = first or table
        line = f"{name:15}"
        for kind, scores in table.items():
            difference = (scores - first[kind]).mean(0)
            low, high = interval(difference)
            line += f"  {kind} {scores.mean():5.1f} +- {scores.mean(1).std():3.1f}"
            line += f" {difference.mean():+5.1f} [{low:+5.1f}, {high:+5.1f}]"
        print(line, flush=True)


if __name__ == "__main__":
    main()
