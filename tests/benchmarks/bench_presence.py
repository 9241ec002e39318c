"""What presence, confidence and smoothing are worth, from the folds that bench_real_video.py left in OUT.

python tests/benchmarks/bench_presence.py OUT [folds=0,1 run=run0]

Each fold's run localizes the videos that it has not learned from, their tags known. Printed are, over the
folds given: AUROC of presence (mean over tags, frames of other tags as negatives; of frames, and of whole
shots); how it follows an object that comes and goes (each shot between two of other tags of its fold, no cut
in between, frame by frame as `predict` has it); Spearman's correlation of each part of confidence with the
true IoU (of frames, and of means of videos); and CorLoc and jitter as found and smoothed. A g.pt that was
fitted without presence has none. Frames are those of the protocol: neighbours are `thin` frames apart; for
true ones, thin=1 of bench_real_video.py.
"""

import sys
from collections import defaultdict
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr

from tcam_cache.config.evaluate import MAP_SIZE
from tcam_cache.datasets import read_manifest
from tcam_cache.datasets.batches import in_batches, load_batches, only_readable
from tcam_cache.datasets.frames import frame_source
from tcam_cache.devices import as_images, resize_maps
from tcam_cache.evaluation import boxes_at
from tcam_cache.inference import Localizer
from tcam_cache.inference.confidence import overlaps
from tcam_cache.inference.tracks import PRESENCE_RADIUS, jitter, presence_over, smoothed_boxes

HALF = np.array([0.5])
# What `frame_confidence` is the mean of.
AS_BUILT = ("decoder and CAM", "tau 0.35 and 0.65")


def frames_of(fold, run):
    """Yield (shot, t, maps by kind, size, presence by tag or None) of a fold's own videos."""
    manifest = read_manifest(fold / "m.jsonl")
    localizer = Localizer.open(fold / run, "cpu")
    classes = localizer.classifier.classes
    source = frame_source(manifest, localizer.classifier.preprocessing.interpolation)
    frames = [(shot, t) for shot in manifest.split("test") for t in range(len(shot))]
    for batch in only_readable(load_batches(in_batches(frames, 8), source, localizer.config.image_size, 0)):
        tags = [classes.index(shot.tag) for shot, _ in batch.frames]
        with torch.inference_mode():
            images = as_images(batch.rgb, localizer.device)
            found, mirrored = localizer.locate(images, tags), localizer.locate(images.flip(-1), tags)
        kinds = {"mix": found.scores, "decoder": found.decoder, "mirror": mirrored.scores.flip(-1)}
        kinds["CAM"] = found.decoder if found.cam is None else found.cam
        maps = {name: resize_maps(one, MAP_SIZE).numpy() for name, one in kinds.items()}
        for row, (shot, t) in enumerate(batch.frames):
            presence = (
                None
                if found.presence is None
                else dict(zip(classes, found.presence[row].tolist(), strict=True))
            )
            yield shot, t, {name: one[row] for name, one in maps.items()}, batch.sizes[row].numpy(), presence


def signals_of(frames):
    """Return what is measured on one shot: boxes in shares of the frame, and parts of confidence, by name."""
    boxes = {
        name: np.stack([boxes_at(maps[name], HALF)[0] for _, _, maps, _, _ in frames]) / MAP_SIZE
        for name in ("mix", "decoder", "CAM", "mirror")
    }
    mixed = np.stack([maps["mix"] for _, _, maps, _, _ in frames])
    narrow, wide = (
        np.stack([boxes_at(one, np.array([tau]))[0] for one in mixed]) / MAP_SIZE for tau in (0.65, 0.35)
    )
    parts = {
        "decoder and CAM": overlaps(boxes["decoder"], boxes["CAM"]),
        "frame and mirror": overlaps(boxes["mix"], boxes["mirror"]),
        "neighbours": neighbour_agreement(boxes["mix"]),
        "tau 0.35 and 0.65": overlaps(narrow, wide),
        "mass inside": mass_inside(mixed, boxes["mix"] * MAP_SIZE),
    }
    return boxes["mix"], parts


def neighbour_agreement(boxes):
    """Return the mean IoU of each frame's box (T, 4) with those beside it in time; 1 if alone."""
    if len(boxes) < 2:
        return np.ones(len(boxes))
    pairs = overlaps(boxes[1:], boxes[:-1])
    return (np.append(pairs, pairs[-1]) + np.append(pairs[0], pairs)) / 2


def mass_inside(maps, boxes):
    """Return the share of the sum of each map (T, H, W) that lies inside its box (T, 4); 0 without one."""
    covered = []
    for size, low, high in zip(maps.shape[:0:-1], boxes[:, :2].T, boxes[:, 2:].T, strict=True):
        pixels = np.arange(size)
        ends = np.minimum(high[:, None], pixels + 1) - np.maximum(low[:, None], pixels)
        covered.append(np.clip(np.nan_to_num(ends), 0, 1))
    inside, total = np.einsum("tyx,tx,ty->t", maps, *covered), maps.sum((1, 2))
    return np.divide(inside, total, out=np.zeros(len(maps)), where=total > 0)


def auroc(values, own):
    """Return the area under the ROC curve."""
    count = own.sum()
    return (rankdata(values)[own].sum() - count * (count + 1) / 2) / (count * (~own).sum())


def show_presence(shots):
    """Print AUROC, mean over tags, of frames as they are and with all frames of their shot."""
    known = [frames for frames in shots if frames[0][4] is not None]
    tags = sorted({frames[0][0].tag for frames in known})
    if len(tags) < 2:
        print("presence: none in these folds")
        return
    truth = np.concatenate([[frames[0][0].tag] * len(frames) for frames in known])
    single = [np.array([[presence[tag] for tag in tags] for *_, presence in frames]) for frames in known]
    for name, of_shots in (("frames", single), ("shots", [presence_over(one) for one in single])):
        areas = [
            auroc(column, truth == tag) for column, tag in zip(np.concatenate(of_shots).T, tags, strict=True)
        ]
        print(f"presence of {name}: AUROC {np.mean(areas):.3f}, lowest {min(areas):.3f}")


def show_spliced(folds):
    """Print AUROC, precision and recall of presence, means over tags, of shots between two of other tags."""
    generator, clips = np.random.default_rng(0), defaultdict(list)
    for shots in folds:
        for frames in shots:
            tag, known = frames[0][0].tag, frames[0][4]
            others = [one for one in shots if one[0][0].tag != tag]
            if known is None or len(others) < 2:
                continue
            before, after = (others[place] for place in generator.choice(len(others), 2, replace=False))
            values = np.array([presence[tag] for *_, presence in (*before, *frames, *after)])
            own = np.arange(len(values))
            own = (own >= len(before)) & (own < len(before) + len(frames))
            clips[tag].append((presence_over(values, PRESENCE_RADIUS), own))
    rows = []
    for of_tag in clips.values():
        values, own = (np.concatenate(column) for column in zip(*of_tag, strict=True))
        kept = values >= 0.5
        rows.append((auroc(values, own), (kept & own).sum() / max(1, kept.sum()), kept[own].mean()))
    if rows:
        area, precision, recall = np.mean(rows, 0)
        print(f"spliced clips: AUROC {area:.3f}, at 0.5 precision {precision:.3f}, recall {recall:.3f}")


def show_boxes(shots):
    """Print correlations with the true IoU, and what smoothing gives."""
    rows, scores = [], {"as found": [], "radius 1": [], "radius 2": []}
    for frames in shots:
        boxes, parts = signals_of(frames)
        sizes = np.stack([np.tile(size, 2) for *_, size, _ in frames])
        truth = np.stack([shot.boxes[t][0] for shot, t, *_ in frames]) / sizes
        ious = overlaps(boxes, truth)
        rows += [
            (frames[0][0].video, iou, *values) for iou, *values in zip(ious, *parts.values(), strict=True)
        ]
        for radius, name in enumerate(scores):
            smooth = smoothed_boxes(boxes, parts["decoder and CAM"], radius)
            found = overlaps(smooth, truth) >= 0.5
            scores[name].append((frames[0][0].video, found.mean(), jitter(smooth)))
    videos = np.array([row[0] for row in rows])
    table = np.array([row[1:] for row in rows], float)
    means = np.stack([table[videos == video].mean(0) for video in sorted(set(videos))])
    names = list(parts)
    columns = {name: [number] for number, name in enumerate(names, 1)}
    columns["as predict has it"] = [1 + names.index(name) for name in AS_BUILT]
    columns["mean of all"] = list(range(1, 1 + len(names)))
    for name, own in columns.items():
        of_frames, of_videos = (spearmanr(one[:, own].mean(1), one[:, 0])[0] for one in (table, means))
        print(f"{name:18} Spearman {of_frames:+.3f} of frames, {of_videos:+.3f} of videos")
    for name, of_shots in scores.items():
        shares = defaultdict(list)
        for video, share, _ in of_shots:
            shares[video].append(share)
        moved = np.nanmean([one[2] for one in of_shots])
        corloc = 100 * np.mean([np.mean(one) for one in shares.values()])
        print(f"{name:9} CorLoc {corloc:.1f}, jitter {moved:.3f}")


def main():
    """Measure the folds and print the tables."""
    out, *given = sys.argv[1:]
    values = dict(one.split("=", 1) for one in given)
    run = values.get("run", "run0")
    folds = [
        [
            list(group)
            for _, group in groupby(frames_of(Path(out) / f"fold{fold}", run), lambda one: one[0].id)
        ]
        for fold in values.get("folds", "0,1,2,3,4").split(",")
    ]
    shots = [frames for of_fold in folds for frames in of_fold]
    show_presence(shots)
    show_spliced(folds)
    show_boxes(shots)


if __name__ == "__main__":
    main()
