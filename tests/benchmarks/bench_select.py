"""What choosing an epoch without true boxes costs (WACV 2025, "A Realistic Protocol ..."): `--select`.

python tests/benchmarks/bench_select.py DATA OUT [key=value ...]

DATA and its folds are those of bench_real_video.py. For each fold a decoder learns from three others, and the
next one is val, but for the only other video of a tag. Every epoch's maps are scored at tau 0.5 on the fold,
on val by true boxes and by boxes of val's cached CAMs, these of the mix and of the decoder alone. Printed is
what each rule's epoch finds on the fold, a mean over videos, less what the best epoch finds. Options:
`folds=0,1 seed=0 thin=6`; any other key as bench_real_video.py takes it.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_real_video import FOLDS, folds_of, interval, options_of, unite

from tcam_cache import BuildConfig, CamCache, ClassifierConfig, Localizer, ManifestConfig, TrainConfig
from tcam_cache.datasets import read_manifest, with_splits, write_manifest
from tcam_cache.datasets.frames import open_data
from tcam_cache.inference.maps import annotated_frames
from tcam_cache.inference.scoring import sweep_maps
from tcam_cache.inference.targets import pseudo_annotated
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.classifier import fit_classifier
from tcam_cache.stages.manifest import index_dataset
from tcam_cache.stages.train import train_decoder
from tcam_cache.training import RunFolder

HALF = np.array([0.5])
RULES = ("last", "loss", "pseudo", "pseudo, decoder", "true", "true, decoder")


def manifest_of(out, folds, fold):
    """Write the fold's manifest, boxes of val left out of it; return its path and the shots with boxes."""
    names = {-1: "train", fold: "test", (fold + 1) % FOLDS: "val"}
    splits = {video: names.get(of, "train") for video, of in folds.items()}
    learned = {video.split("/")[0] for video, split in splits.items() if split == "train"}
    for video, split in splits.items():
        if split == "val" and video.split("/")[0] not in learned:
            splits[video] = "train"  # a tag with two videos
    whole = read_manifest(out / "all.jsonl")
    shots = with_splits(whole.shots, splits)
    path = out / f"fold{fold}" / "m.jsonl"
    path.parent.mkdir(exist_ok=True)
    bare = tuple(shot if shot.split == "test" else replace(shot, boxes={}) for shot in shots)
    write_manifest(replace(whole, shots=bare), path)
    return path, shots


def trained(config):
    """Train a run, and return the weights of its decoder after every epoch."""
    kept, save = {}, RunFolder.save

    def keep(run, name, state):
        """Keep the weights of a finished epoch, too."""
        if name == "last":
            kept[state["epoch"]] = {key: value.clone() for key, value in state["model"].items()}
        save(run, name, state)

    RunFolder.save = keep
    try:
        train_decoder(config)
    finally:
        RunFolder.save = save
    return [kept[epoch] for epoch in sorted(kept) if epoch]


def run_fold(out, folds, fold, seed, options):
    """Return (epochs, 6): CorLoc on the fold, and on val minus the loss, then by pseudo and by true boxes.

    By boxes: first of the mix, then of the decoder alone.
    """
    here = out / f"fold{fold}"
    if (here / f"scores{seed}.json").exists():
        return np.array(json.loads((here / f"scores{seed}.json").read_text()))
    manifest, shots = manifest_of(out, folds, fold)
    classifier, cache = here / "g.pt", here / "cache"
    if not classifier.exists():
        fit_classifier(ClassifierConfig(manifest=manifest, out=classifier, **options["classifier"]))
    build_cache(BuildConfig(manifest=manifest, classifier=classifier, out=cache, **options["build"]))
    config = TrainConfig(
        manifest=manifest, cache=cache, out=here / f"run{seed}", seed=seed, validate_every=1, select="loss",
        **options["train"],
    )  # fmt: skip
    weights = trained(config)
    localizer = Localizer.open(config.out, "cpu")
    _, source = open_data(config, localizer.classifier.preprocessing.interpolation)
    val = [shot for shot in shots if shot.split == "val"]
    sets = [
        [shot for shot in shots if shot.split == "test"],
        pseudo_annotated(CamCache.open(cache), val, source, 0),
        val,
    ]
    lines = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    scores = []
    for line, state in zip(lines, weights, strict=True):
        localizer.decoder.load_state_dict(state)
        (found, _), pseudo, true = (corloc(localizer, annotated_frames(one), source) for one in sets)
        scores.append([found, -line["val_loss"], *pseudo, *true])
    (here / f"scores{seed}.json").write_text(json.dumps(scores))
    return np.array(scores)


def corloc(localizer, frames, source):
    """Return CorLoc at tau 0.5 of the mix and of the decoder alone, means over videos."""
    maps = localizer.maps(frames, source, batch_size=16, workers=0, tagged=True)
    swept = sweep_maps(maps, localizer.classifier.classes, "components", HALF, 0)
    videos = np.array([sweep.video for sweep in swept[""]])
    hits = (np.array([sweep.ious[0] >= 0.5 for sweep in swept[name]]) for name in ("", "decoder"))
    return [100 * float(np.mean([hit[videos == one].mean() for one in np.unique(videos)])) for hit in hits]


def main():
    """Run every fold, and print what each rule costs."""
    data, out, *given = sys.argv[1:]
    out, values = Path(out), dict(one.split("=", 1) for one in given)
    thin, seed = int(values.pop("thin", 6)), int(values.pop("seed", 0))
    wanted = [int(one) for one in values.pop("folds", ",".join(map(str, range(FOLDS)))).split(",")]
    options = options_of(values)
    if not (out / "data/annotations.csv").exists():
        unite(Path(data), out / "data", thin)
    if not (out / "all.jsonl").exists():
        places = {"layout": "folders", "annotations": out / "data/annotations.csv", "out": out / "all.jsonl"}
        index_dataset(ManifestConfig(source=out / "data", split=False, **places))
    folds, lost = folds_of(out / "data"), []
    for fold in wanted:
        scores = run_fold(out, folds, fold, seed, options)
        chosen = [len(scores) - 1, *(int(scores[:, column].argmax()) for column in range(1, 6))]
        lost.append(scores[chosen, 0] - scores[:, 0].max())
        epochs = " ".join(f"{rule} {epoch + 1}" for rule, epoch in zip(RULES, chosen, strict=True))
        print(f"fold {fold}: best {scores[:, 0].max():.1f} in epoch {scores[:, 0].argmax() + 1}; {epochs}")
    for rule, of_rule in zip(RULES, np.array(lost).T, strict=True):
        low, high = interval(of_rule)
        print(f"{rule:15} {of_rule.mean():+5.1f} [{low:+.1f}, {high:+.1f}] of {len(of_rule)} folds")


if __name__ == "__main__":
    main()
