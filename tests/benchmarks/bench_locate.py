"""What `locate` finds in real videos, scored as it writes boxes: smoothed, and none where presence is low.

python tests/benchmarks/bench_locate.py DATA OUT [key=value ...]

DATA is that of bench_real_video.py; every `thin`-th frame (default 1) is given to `locate`, tags alone. Other
keys are its options, such as effort=quick. CorLoc and mean IoU are means over videos, with a 95 % interval
by bootstrap over videos; jitter is 1 less the mean IoU of consecutive boxes. Run again, it goes on.
"""

import csv
import resource
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from bench_real_video import interval, unite

from tcam_cache import LocateConfig, locate

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def iou(one, other):
    """Return the IoU of two boxes."""
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    common = max(0.0, width) * max(0.0, height)
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (sum(areas) - common)


def rows_of(path):
    """Return the rows of a CSV file, each with its box, or None, under "box"."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["box"] = tuple(float(row[name]) for name in CORNERS) if row["xmin"] else None
    return rows


def main():
    """Run `locate`, and print what it found."""
    data, out, *given = sys.argv[1:]
    out, values = Path(out), dict(one.split("=", 1) for one in given)
    footage, thin = out / "footage", int(values.pop("thin", 1))
    if not (footage / "annotations.csv").exists():
        unite(Path(data), footage, thin)
    report = locate(LocateConfig(source=footage, out=out / "found", **values))
    print(report.to_text())
    true = defaultdict(list)
    for row in rows_of(footage / "annotations.csv"):
        true[row["frame"]].append(row["box"])
    found, moved, before = defaultdict(list), defaultdict(list), {}
    for row in rows_of(out / "found/boxes/boxes.csv"):
        video = "/".join(row["video"].split("/")[:2])
        boxes = true[f"{row['video']}/{row['name']}"]
        found[video].append(max(iou(row["box"], one) for one in boxes) if row["box"] else 0.0)
        if row["box"] and before.get(video):
            moved[video].append(1 - iou(row["box"], before[video]))
        before[video] = row["box"]
    hits = {video: 100 * np.mean(np.array(ious) >= 0.5) for video, ious in found.items()}
    mean, (low, high) = np.mean(list(hits.values())), interval(list(hits.values()))
    by_tag = defaultdict(list)
    for video, of_video in hits.items():
        by_tag[video.split("/")[0]].append(of_video)
    classes, overlap, jitter = (
        np.mean([np.mean(values) for values in table.values()]) for table in (by_tag, found, moved)
    )
    print(
        f"{len(hits)} videos, {sum(map(len, found.values()))} frames: CorLoc {mean:.1f} "
        f"[{low:.1f}, {high:.1f}], over classes {classes:.1f}, mean IoU {overlap:.3f}, jitter {jitter:.3f}; "
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    )
    print("  ".join(f"{video} {of_video:.0f}" for video, of_video in sorted(hits.items())))


if __name__ == "__main__":
    main()
