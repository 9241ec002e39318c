"""Every stage on an embedded data set, from tagged video to a report, in minutes on two cores."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcam_cache.cache import CamCache
from tcam_cache.config import (
    BuildConfig,
    ClassifierConfig,
    DemoConfig,
    EvaluateConfig,
    InspectConfig,
    ManifestConfig,
    train_config,
)
from tcam_cache.datasets import write_demo
from tcam_cache.errors import ManifestError
from tcam_cache.models import is_packaged
from tcam_cache.names import left_behind
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.classifier import fit_classifier, fit_folder
from tcam_cache.stages.evaluate import EvaluateReport, evaluate
from tcam_cache.stages.inspect import inspect_cache
from tcam_cache.stages.manifest import index_dataset
from tcam_cache.stages.train import train_decoder

logger = logging.getLogger(__name__)

SAMPLING: dict[str, Any] = {"image_size": 96, "frames_per_shot": 9, "batch_size": 16}
# A small network from scratch: nothing is downloaded, and frames of 240 x 180 lose little at this size.
FROM_SCRATCH: dict[str, dict[str, Any]] = {
    "classifier": {
        "preset": "paper",
        "arch": "resnet18",
        "weights": "none",
        "output_stride": 16,
        "lr": 0.02,
        "lr_last_stage": 1.0,
        "lr_step": 4,
        "lr_decay": 0.6,
        "epochs": 12,
        "validate_every": 6,
        **SAMPLING,
    },
    "build": {"preset": "paper", "layers": "auto", "image_size": SAMPLING["image_size"]},
    "train": {
        "preset": "paper",
        "fg_top": 0.1,
        "pixels": 100,
        "cross_entropy": "batch-mean",
        "optimiser": "adamw",
        "lr": 2e-3,
        "lr_step": 3,
        "lr_decay": 0.4,
        "epochs": 6,
        "decoder_width": 0.25,
        "validate_every": 6,
        **SAMPLING,
    },
}
WITH_WEIGHTS_OF = "timm:tf_efficientnet_lite0"
# With the weights of the extra `lite`: as `locate` does it, but with the boxes of val.
WITH_WEIGHTS: dict[str, dict[str, Any]] = {
    "classifier": {"image_size": 160},
    "build": {"image_size": 160, "scales": "1,1.4"},
    "train": {"image_size": 160, "neighbours": 1},
}


@dataclass(frozen=True)
class DemoReport:
    """The scores of the demo on its test split.

    Attributes:
        out: the demo's folder.
        layercam: score of the cached CAMs.
        tcam: score of the decoder's maps.
        seconds: taken by all stages.
    """

    out: str
    layercam: EvaluateReport
    tcam: EvaluateReport
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return both scores as JSON-able values."""
        return {
            "out": self.out,
            "layercam": self.layercam.to_json(),
            "tcam": self.tcam.to_json(),
            "seconds": round(self.seconds, 1),
        }

    def to_text(self) -> str:
        """Return the report as a few lines."""
        lines = [f"{'CorLoc on test':28} {'val tau':>8} {'tau 0.5':>8} {'mean IoU':>9}"]
        for label, report in (("LayerCAM, as cached", self.layercam), ("decoder, TCAM", self.tcam)):
            metrics = report.metrics
            chosen, half = metrics.corloc["mean_over_classes"], metrics.policies["0.5"]["corloc"]
            lines.append(f"{label:28} {chosen:8.1f} {half:8.1f} {metrics.mean_iou:9.3f}")
        return "\n".join([*lines, f"{self.seconds:.0f} s in all; open {self.tcam.report}/index.html"])


def run_demo(config: DemoConfig) -> DemoReport:
    """Write the embedded data set and run every stage on it; run again to resume.

    Raises:
        ManifestError: the folder holds something that is not a demo.
    """
    began = time.perf_counter()
    out = Path(config.out)
    _require_own_folder(out)
    shared: dict[str, Any] = {"seed": config.seed, "device": config.device}
    data = {"manifest": out / "manifest.jsonl", **shared}
    _log_step("the embedded data set")
    annotations = out / "data" / "annotations.csv"
    if not annotations.is_file():
        write_demo(out / "data", config.seed)
    index_dataset(
        ManifestConfig(
            source=out / "data", layout="folders", annotations=annotations, out=data["manifest"], **shared
        )
    )
    settings = WITH_WEIGHTS if is_packaged(WITH_WEIGHTS_OF) else FROM_SCRATCH
    _log_step("stage 0: the classifier, on tags alone")
    classifier = out / "g.pt"
    if not classifier.is_file():
        fit_classifier(
            ClassifierConfig(
                out=classifier, resume=_begun(fit_folder(classifier)), **data, **settings["classifier"]
            )
        )
    _log_step("stage 1: the cache of LayerCAMs")
    cache = out / "cache"
    build_cache(BuildConfig(classifier=classifier, out=cache, **data, **settings["build"]))
    _draw_a_shot(cache, out)
    _log_step("stage 2: the decoder, on pseudo-labels from CAM-TMP")
    run = out / "run"
    train_decoder(train_config(cache=cache, out=run, resume=_begun(run), **data, **settings["train"]))
    _log_step("stage 3: boxes against annotations")
    layercam = evaluate(EvaluateConfig(cache=cache, out=out / "report_layercam", **data))
    beside = {"LayerCAM, as cached": layercam.evaluation}
    tcam = evaluate(EvaluateConfig(run=run, out=out / "report", **data), beside)
    return DemoReport(str(out), layercam, tcam, time.perf_counter() - began)


def _draw_a_shot(cache: Path, out: Path) -> None:
    # One contact sheet as an example; `tcam-cache inspect` draws others.
    first = CamCache.open(cache).shots()[0].id
    inspect_cache(InspectConfig(cache=cache, shot=first, png=out / "shot.png"))


def _begun(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _require_own_folder(out: Path) -> None:
    known = {
        "data",
        "manifest.jsonl",
        "g.pt",
        "g.fit",
        "cache",
        "run",
        "report",
        "report_layercam",
        "shot.png",
    }
    there = [entry.name for entry in out.iterdir()] if out.is_dir() else []
    strange = sorted(name for name in there if name not in known and not left_behind(name))
    if out.is_file() or strange:
        raise ManifestError(
            f"{out} holds something that is not a demo. Give an empty or new folder.", strange
        )


def _log_step(what: str) -> None:
    logger.info("\n%s", what)
