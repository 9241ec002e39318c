"""A cut-down run of every stage on real videos beside the checkout; skipped where they are absent."""

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from tcam_cache.models import Classifier, pretrained_concepts, pretrained_network

DATA = Path(__file__).parents[2] / "shared/data"
LITE = "timm:tf_efficientnet_lite0"
WEIGHTS = DATA / "weights/efficientnet-lite0.pth"
EVERY = 8
SPLITS = ("train", "val", "test")
# Processes that load images take longer to start than these few do.
ALONE = ("--workers", 0)

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real videos are not beside the checkout"),
    pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed"),
]


@pytest.fixture(scope="module")
def tcam_cache(tcam_of_module):
    """Return a function that runs a command in this process and returns its JSON result."""

    def run(*args):
        done = tcam_of_module(*args, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """Every 8th annotated frame of each davis video: what is not annotated, a sampled cache may leave out."""
    with (DATA / "davis/annotations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if int(row["frame"][-8:-4]) % EVERY == 1]
    path = tmp_path_factory.mktemp("davis") / "annotations.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return path


@pytest.fixture(scope="module")
def runs(tcam_cache, annotations):
    """The recommended recipe on davis, the tags of all its videos known: each result by its stage's name."""
    out = annotations.parent
    manifest, g, cache, run = (out / name for name in ("m.jsonl", "g.pt", "cache", "run"))
    small, all_tags = ["--image-size", 160, *ALONE], ["--train-split", "all"]
    every = ["--every", EVERY]
    places = ["--layout", "folders", "--annotations", annotations, "--out", manifest]
    steps = ["--epochs", 4, "--frames-per-shot", 8, "--decoder-width", 0.5, "--validate-every", 99]
    results = {
        "manifest": tcam_cache("manifest", DATA / "davis", *places, *ALONE),
        "classifier": tcam_cache(
            "classifier", manifest, "--out", g, "--weights", WEIGHTS, "--probe-frames", 8, *all_tags, *small
        ),
        "build": tcam_cache(
            "build", manifest, "--classifier", g, "--out", cache, *every, "--scales", 1, *small
        ),
        "train": tcam_cache("train", manifest, "--cache", cache, "--out", run, *steps, *all_tags, *small),
        "verify": tcam_cache("verify", cache),
    }  # fmt: skip
    for name, what in (("cams", ["--cache", cache]), ("decoder", ["--run", run])):
        results[name] = tcam_cache(
            "evaluate", manifest, *what, "--split", "all", "--out", out / name, "--overlays", 4, *ALONE
        )
    return results


def centre_box_corloc(path):
    """Return CorLoc, the mean over classes in percent, of a box over the middle 70 % of width and height."""
    hits = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            x0, y0, x1, y1 = (float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
            wide, high = min(x1, 0.85 * 480) - max(x0, 72), min(y1, 0.85 * 270) - max(y0, 40.5)
            common = max(0, wide) * max(0, high)
            union = (x1 - x0) * (y1 - y0) + 336 * 189 - common
            hits.setdefault(row["class"], []).append(common / union > 0.5)
    return 100 * sum(sum(found) / len(found) for found in hits.values()) / len(hits)


def test_every_stage_goes_through_on_real_video(runs, annotations):
    frames = len(annotations.read_text().splitlines()) - 1
    assert sum(split["videos"] for split in runs["manifest"]["splits"].values()) == 19
    assert sum(split["frames"] for split in runs["manifest"]["splits"].values()) == 1264
    assert (runs["build"]["shots"], runs["build"]["frames"]) == (19, frames)
    assert runs["build"]["flat_maps"] == 0 and runs["verify"]["missing"] == 0
    assert (runs["classifier"]["epochs"], runs["train"]["epochs"]) == (0, 4)
    for name in ("cams", "decoder"):
        assert runs[name]["frames"] == frames
        files = {path.name for path in Path(runs[name]["report"]).iterdir()}
        assert files >= {"metrics.json", "frames.csv", "table.md", "index.html"}


def test_the_tags_are_learned_and_the_cams_find_more_than_the_middle_of_the_frame(runs, annotations):
    centre = centre_box_corloc(annotations)
    assert 5 < centre < 20
    assert runs["cams"]["cl_accuracy"] > 90
    assert runs["cams"]["corloc"]["mean_over_classes"] > 2 * centre
    assert runs["decoder"]["corloc"]["mean_over_classes"] > centre


def test_a_probe_of_a_few_frames_is_right_on_most_frames_of_left_out_videos(runs):
    scores = runs["classifier"]["best"]["best_classification"]
    assert (scores["frames"], scores["videos"]) == (152, 19)
    assert scores["left_out_accuracy"] > 50  # by chance 17


def test_the_pretrained_backbone_names_what_is_in_frames_as_imagenet_does():
    named = {"bird/0001": 100, "bird/0003": 130, "car/0001": 656}  # black swan, flamingo, minivan
    network = pretrained_network(LITE, str(WEIGHTS))
    classifier = Classifier(LITE, ("a", "b"), 32, network=network).freeze()
    concepts = pretrained_concepts(LITE, str(WEIGHTS), network, classifier.stages.depth)
    for video, number in named.items():
        with Image.open(DATA / f"davis/{video}/001/frame0001.jpg") as picture:
            rgb = np.array(picture.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))
        features = classifier.deepest(torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255).mean((2, 3))
        logits = functional.linear(features, concepts.weight.float(), concepts.bias.float())
        assert int(logits.argmax()) == number, video


def test_the_loss_of_the_decoder_falls_on_real_video(runs):
    log = [json.loads(line) for line in (Path(runs["train"]["run"]) / "log.jsonl").read_text().splitlines()]
    assert log[-1]["losses"]["cross_entropy"] < log[0]["losses"]["cross_entropy"]


def test_yto_mini_is_indexed_in_place_with_every_box(tcam_cache, tmp_path):
    data = DATA / "yto_mini"
    given = ["--layout", "folders", "--annotations", data / "annotations.csv", "--out", tmp_path / "m.jsonl"]
    report = tcam_cache("manifest", data, *given, *ALONE)
    counts = report["splits"].values()
    assert len(report["classes"]) == 10
    assert [sum(split[what] for split in counts) for what in ("shots", "boxes", "videos")] == [177, 1177, 30]


@pytest.fixture(scope="module")
def mini_splits(tmp_path_factory):
    """Split files of yto_mini: the published val ids, of each class one video train, one val, one test.

    Every test frame has a second box, the middle half of its first, so that frames have several.
    """
    folder = tmp_path_factory.mktemp("splits")
    published = DATA / "yto_folds/YouTube-Objects-v2.2"
    rows = {
        name: [line.split(",") for line in (published / f"val/{name}.txt").read_text().split()]
        for name in ("class_labels", "image_sizes", "localization")
    }
    videos = {}
    for path, *_ in rows["class_labels"]:
        tag, video, _ = path.split("/", 2)
        videos.setdefault(tag, {})[f"{tag}/{video}"] = None
    split_of = {video: split for found in videos.values() for video, split in zip(found, SPLITS, strict=True)}
    for x in rows["localization"][:]:
        path, *corners = x
        x0, y0, x1, y1 = map(float, corners)
        inner = [(3 * x0 + x1) / 4, (3 * y0 + y1) / 4, (x0 + 3 * x1) / 4, (y0 + 3 * y1) / 4]
        if split_of["/".join(path.split("/")[:2])] == "test":
            rows["localization"].append([path, *map(str, inner)])
    for split in SPLITS:
        (folder / split).mkdir()
        lines = {name: [row for row in found if split_of["/".join(row[0].split("/")[:2])] == split]
                 for name, found in rows.items()}  # fmt: skip
        if split == "train":
            shots = dict.fromkeys((path.rpartition("/")[0], number) for path, number in lines["class_labels"])
            lines = {"class_labels": [list(pair) for pair in shots], "image_sizes": [], "localization": []}
        lines["image_ids"] = [row[:1] for row in lines["class_labels"]]
        for name, found in lines.items():
            (folder / split / f"{name}.txt").write_text("".join(",".join(row) + "\n" for row in found))
    (folder / "class_id.yaml").write_text((published / "class_id.yaml").read_text())
    return folder


def test_yto_mini_runs_through_every_stage_by_the_ids_of_split_files(tcam_cache, mini_splits):
    out = mini_splits
    manifest, g, cache, run = (out / name for name in ("m.jsonl", "g.pt", "cache", "run"))
    tiny = ["--preset", "paper", "--image-size", 64, *ALONE]
    small = ["--batch-size", 16, "--epochs", 1, "--validate-every", 99, *tiny]
    indexed = tcam_cache(
        "manifest", DATA / "yto_mini", "--layout", "wsol", "--splits", out, "--out", manifest, *ALONE
    )
    counts = indexed["splits"]
    assert len(indexed["classes"]) == 10
    assert [counts[split]["videos"] for split in SPLITS] == [10, 10, 10]
    assert sum(counts[split]["frames"] for split in SPLITS) == 1177
    assert counts["train"]["boxes"] == 0 and counts["test"]["boxes"] == 2 * counts["test"]["frames"]
    tcam_cache("classifier", manifest, "--out", g, "--arch", "squeezenet1_1", "--weights", "none", *small)
    built = tcam_cache("build", manifest, "--classifier", g, "--out", cache, *tiny)
    assert (built["shots"], built["frames"]) == (177, 1177)
    tcam_cache("train", manifest, "--cache", cache, "--out", run, "--decoder-width", 0.125, *small)
    for name, what in (("cams", ["--cache", cache]), ("decoder", ["--run", run])):
        scored = tcam_cache("evaluate", manifest, *what, "--out", out / name, "--overlays", 4, *ALONE)
        assert scored["frames"] == counts["test"]["frames"]
        assert set(scored["corloc"]["per_class"]) == set(indexed["classes"])
