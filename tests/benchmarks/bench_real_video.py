"""The protocol behind the presets: CorLoc on real videos that neither classifier nor decoder has seen.

python tests/benchmarks/bench_real_video.py DATA OUT [key=value ...]

DATA holds `davis` and `wide` (layout `folders`, with annotations.csv). Their videos are put together, tags
united (horse, cow, sheep, elephant: hoofed), every `thin`-th frame taken, and split into 5 folds by video.
For each fold and seed the four commands run on the other folds' videos, under a preset, and score the
fold's; tags with one video are learned from, never scored. `folds=all` learns from every video, and scores
them all. Printed are means over videos, with 95 % intervals by bootstrap over videos. Options:
`preset=recommended seeds=3 thin=6 folds=0,1`; any other key is an option of `train` or, as classifier.KEY,
build.KEY and evaluate.KEY, of those; `evaluate.scales` is of what runs find. Run again, it goes on.
"""

import csv
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from tcam_cache import BuildConfig, ClassifierConfig, EvaluateConfig, ManifestConfig, TrainConfig
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.classifier import fit_classifier, fit_folder
from tcam_cache.stages.evaluate import PARTS, evaluate
from tcam_cache.stages.manifest import index_dataset
from tcam_cache.stages.train import train_decoder

FOLDS, ALL, DRAWS = 5, "all", 2000
HOOFED = ("horse", "cow", "sheep", "elephant")
POLICIES = ("0.5", "otsu", "oracle")


def unite(data, out, thin):
    """Copy every `thin`-th frame of both sets under united tags, with its boxes."""
    rows, shots = [], defaultdict(list)
    for source in ("davis", "wide"):
        with (data / source / "annotations.csv").open() as file:
            for row in csv.DictReader(file):
                shots[source, row["frame"].rpartition("/")[0]].append(row)
    for (source, shot), frames in sorted(shots.items()):
        tag, video, name = shot.split("/")
        united = "hoofed" if tag in HOOFED else tag
        for row in sorted(frames, key=lambda row: row["frame"])[::thin]:
            path = f"{united}/{source}-{tag}-{video}/{name}/{row['frame'].rpartition('/')[2]}"
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / source / row["frame"], out / path)
            rows.append([path, united, *(row[key] for key in ("xmin", "ymin", "xmax", "ymax"))])
    with (out / "annotations.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["frame", "class", "xmin", "ymin", "xmax", "ymax"], *rows])


def folds_of(root):
    """Return the fold of each video: videos of a tag go round the folds in a seeded order; -1 where alone."""
    generator, place, folds = np.random.default_rng(0), 0, {}
    for tag in sorted(path for path in root.iterdir() if path.is_dir()):
        videos = sorted(f"{tag.name}/{path.name}" for path in tag.iterdir())
        if len(videos) == 1:
            folds[videos[0]] = -1
            continue
        for video in generator.permutation(videos):
            folds[str(video)] = place % FOLDS
            place += 1
    return folds


def run_fold(out, fold, folds, seeds, options, name="", cams="", score=None):
    """Run the four commands on a fold, what is done already left out; return rows by kind of map and seed.

    Runs with other settings of `train` have another `name`, those on CAMs of another classifier other `cams`;
    `score` scores a run as `rows_of` does.
    """
    here = out / f"fold{fold}{cams}"
    here.mkdir(exist_ok=True)
    manifest, splits = here / "m.jsonl", here / "splits.csv"
    if not manifest.exists():
        lines = [f"{video},{'test' if of == fold else 'train'}" for video, of in folds.items()]
        splits.write_text("\n".join(lines))
        index_dataset(
            ManifestConfig(
                source=out / "data", layout="folders", annotations=out / "data/annotations.csv",
                splits=splits, out=manifest,
            )
        )  # fmt: skip
    scored = "all" if fold == ALL else "test"
    classifier, cache = here / "g.pt", here / "cache"
    if not classifier.exists():
        begun = (fit_folder(classifier) / "config.json").exists()
        settings = {**options["classifier"], "resume": begun}
        fit_classifier(ClassifierConfig(manifest=manifest, out=classifier, **settings))
    build_cache(BuildConfig(manifest=manifest, classifier=classifier, out=cache, **options["build"]))
    found = {("cached CAM", 0): rows_of(here / "report_cam", manifest, scored, cache=cache)}
    for seed in seeds:
        run = here / f"run{name}{seed}"
        if not (run / "best.pt").exists():
            places = {
                "manifest": manifest,
                "cache": cache,
                "out": run,
                "resume": (run / "config.json").exists(),
            }
            train_decoder(TrainConfig(seed=seed, **places, **options["train"]))
        how = options["evaluate"]
        named = "".join(f"-{key}-{value}" for key, value in how.items())
        rows = (score or rows_of)(here / f"report{name}{seed}{named}", manifest, scored, run=run, **how)
        found |= {(kind, seed): of_kind for kind, of_kind in rows.items()}
        (run / "last.pt").unlink(missing_ok=True)
    return found


def rows_of(report, manifest, split, **target):
    """Return the rows of an evaluation's frames.csv: of a run under each kind of map, of a cache alone."""
    stored = report / "parts.json"
    if not stored.exists():
        made = evaluate(EvaluateConfig(manifest=manifest, split=split, threshold="0.5", out=report, **target))
        parts = {"": made.evaluation, **made.parts}
        plain = {
            name: [
                [row.video, row.tag, row.predicted_tag, {key: row.ious[key] for key in POLICIES}]
                for row in part.rows
            ]
            for name, part in parts.items()
        }
        stored.write_text(json.dumps(plain))
    plain = json.loads(stored.read_text())
    if "cache" in target:
        return plain[""]
    return {"mix": plain[""], **{name: plain[label] for name, label in PARTS.items() if label in plain}}


def by_video(rows, policy):
    """Return each video's CorLoc and mean IoU under a policy."""
    ious = defaultdict(list)
    for video, _, _, overlaps in rows:
        ious[video].append(overlaps[policy])
    return {video: (100 * np.mean(np.array(one) >= 0.5), np.mean(one)) for video, one in ious.items()}


def interval(values):
    """Return the 95 % interval of a mean over videos, by bootstrap."""
    draws = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    return np.percentile(np.asarray(values)[draws].mean(1), [2.5, 97.5])


def show(found, base):
    """Print a line a kind of map: means over videos, and the difference to the cached CAM."""
    print(
        f"{'':12} {'tau 0.5':>23} {'classes':>8} {'Otsu':>6} {'oracle':>7} {'IoU':>6}  minus the cached CAM"
    )
    for kind, of_seeds in found.items():
        scores = {policy: [by_video(rows, policy) for rows in of_seeds] for policy in POLICIES}
        videos = sorted(base)
        tables = {
            policy: np.array([[of_seed[video] for video in videos] for of_seed in scores[policy]])
            for policy in POLICIES
        }
        means = {policy: table[..., 0].mean() for policy, table in tables.items()}
        half = tables["0.5"][..., 0].mean(0)
        (low, high), difference = interval(half), half - [base[video][0] for video in videos]
        tags = np.array([video.split("/")[0] for video in videos])
        classes = np.mean([half[tags == tag].mean() for tag in sorted(set(tags))])
        below, above = interval(difference)
        print(
            f"{kind:12} {means['0.5']:6.1f} [{low:5.1f}, {high:5.1f}] {classes:9.1f} {means['otsu']:6.1f} "
            f"{means['oracle']:7.1f} {tables['0.5'][..., 1].mean():6.3f}  {difference.mean():+5.1f} "
            f"[{below:+.1f}, {above:+.1f}], seeds +- {tables['0.5'][..., 0].mean(1).std():.1f}"
        )


def options_of(values):
    """Return the options of each stage, of KEY=VALUE and STAGE.KEY=VALUE, under the preset."""
    preset = values.pop("preset", "recommended")
    options = {stage: {"preset": preset} for stage in ("classifier", "build", "train")} | {"evaluate": {}}
    for key, text in values.items():
        stage, _, name = key.rpartition(".")
        try:
            options[stage or "train"][name] = json.loads(text)
        except ValueError:
            options[stage or "train"][name] = text
    return options


def main():
    """Run the protocol and print its table."""
    data, out, *given = sys.argv[1:]
    data, out = Path(data), Path(out)
    values = dict(one.split("=", 1) for one in given)
    thin, seeds = int(values.pop("thin", 6)), range(int(values.pop("seeds", 3)))
    wanted = values.pop("folds", ",".join(map(str, range(FOLDS)))).split(",")
    options = options_of(values)
    if not (out / "data/annotations.csv").exists():
        unite(data, out / "data", thin)
    folds = folds_of(out / "data")
    parts = [run_fold(out, name if name == ALL else int(name), folds, seeds, options) for name in wanted]
    found = defaultdict(list)
    for kind, seed in parts[0]:
        found[kind].append([row for part in parts for row in part[kind, seed]])
    cached = found["cached CAM"][0]
    of_video = defaultdict(list)
    for video, tag, predicted, _ in cached:
        of_video[video].append(tag == predicted)
    right = 100 * np.mean([np.mean(one) for one in of_video.values()])
    counts = f"{len(of_video)} videos, {len(cached)} frames, {right:.0f} % classified right"
    print(f"\nfolds {', '.join(wanted)}: {counts}")
    show(found, by_video(cached, "0.5"))
    for kind, of_seeds in found.items():
        tables = [by_video(rows, "0.5") for rows in of_seeds]
        print(f"\n{kind}, CorLoc of each video:")
        print(
            "  ".join(
                f"{video} {np.mean([one[video][0] for one in tables]):.0f}" for video in sorted(tables[0])
            )
        )


if __name__ == "__main__":
    main()
