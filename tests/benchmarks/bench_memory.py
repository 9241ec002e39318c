"""The peak memory of each stage of `locate`, beside its plan's, on Linux, whose kernel keeps it.

`python tests/benchmarks/bench_memory.py FOOTAGE`; options of `locate` may follow, such as effort=quick.
"""

import sys
import tempfile
from pathlib import Path

from tcam_cache.config import LocateConfig
from tcam_cache.stages import locate as stages


def peak_since_last() -> float:
    """Return the peak of resident memory since the last call, in megabytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    Path("/proc/self/clear_refs").write_text("5")
    return 1.024e-3 * int(line.split()[1])


def main(footage: str, *options: str) -> None:
    """Run every stage and print its peak."""
    peaks: list[tuple[str, float]] = []
    names = iter(["start", "index", "classifier", "build", "train", "predict"])

    def next_stage(what: str) -> None:
        peaks.append((next(names), peak_since_last()))

    stages._log_step = next_stage
    given = dict(option.split("=", 1) for option in options)
    with tempfile.TemporaryDirectory() as out:
        few = "steps=2 epochs=1 frames-per-shot=33"
        settings = {"train": few, "workers": 0, "overlays": False, **given}
        report = stages.locate(LocateConfig(source=footage, out=out, **settings))
        next_stage("")
    print(", ".join(f"{name} {peak:,.0f}" for name, peak in peaks), "MB")
    print(f"planned: {report.plan.memory:,.0f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
