"""The head of a frozen backbone and presence, fitted on features that are computed once and kept."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby, product

import numpy as np
import torch

from tcam_cache.config import ClassifierConfig
from tcam_cache.datasets.batches import ShotBatches, load_batches, only_readable
from tcam_cache.datasets.sampling import spread
from tcam_cache.devices import as_images
from tcam_cache.models import Classifier, Concepts, Presence
from tcam_cache.models.presence import evidence
from tcam_cache.progress import progress_bar
from tcam_cache.records import FrameSource, Shot
from tcam_cache.training.presence import fit_presence
from tcam_cache.training.probe import UNCHOSEN, fit_probe, video_folds
from tcam_cache.training.run_folder import RunFolder
from tcam_cache.training.samples import middle_frames

logger = logging.getLogger(__name__)


def fit_head(
    classifier: Classifier,
    shots: Sequence[Shot],
    source: FrameSource,
    config: ClassifierConfig,
    run: RunFolder,
    workers: int,
    concepts: Concepts | None = None,
) -> tuple[dict[str, float], Presence | None]:
    """Freeze a classifier, set its head to the linear probe of some shots' tags, and fit presence.

    Args:
        classifier: on its device.
        shots: to learn from; `config.probe_frames` of the middle of each are taken, and `config.probe_total`
            in all.
        source: reads their frames.
        config: loss, image size, batch size.
        run: keeps the pooled features.
        workers: processes that decode; 0 decodes in this one.
        concepts: of the pretrained backbone, for presence.

    Returns:
        "strength" (C), "frames", "videos", and if any video could be left out "left_out_accuracy"
        (percentage, mean over left-out videos) and the scores of presence; presence, or None without.

    Raises:
        FrameError: frames cannot be read (all are named).
        RunError: what the run folder holds is damaged.
        WeightsError: features are not finite.
    """
    middles = [shot.only(middle_frames(len(shot), config.middle)) for shot in shots]
    shots = spread(middles, config.probe_frames, config.probe_total)
    _warn_of_lone_videos(shots)
    features, frame_evidence = frame_features(
        classifier.freeze(), shots, source, config, run, workers, concepts
    )
    frames = [(classifier.classes.index(shot.tag), shot.video) for shot in shots for _ in shot.frames]
    labels, videos = (np.array(column) for column in zip(*frames, strict=True))
    with progress_bar(2 * (int(video_folds(labels, videos).max()) + 1), "probe", "fold") as bar:
        probe = fit_probe(features.numpy(), labels, videos, loss=config.loss, on_fold=bar.update)
        nothing = evidence_of_nothing(classifier, config, concepts).numpy()
        presence = fit_presence(frame_evidence.numpy(), labels, videos, nothing, concepts, on_fold=bar.update)
    classifier.head.weight.copy_(torch.from_numpy(probe.weight))
    classifier.head.bias.copy_(torch.from_numpy(probe.bias))
    scores = {"strength": probe.strength, "frames": len(frames), "videos": len(np.unique(videos))}
    if probe.accuracy is not None:
        scores["left_out_accuracy"] = 100 * probe.accuracy
    return scores | dict(presence.scores if presence else {}), presence


def evidence_of_nothing(
    classifier: Classifier, config: ClassifierConfig, concepts: Concepts | None
) -> torch.Tensor:
    """Return the evidence (27, E) float32, on the CPU, in pictures of one colour each, black to white."""
    size = config.image_size or classifier.preprocessing.size
    rows = []
    for colour in product((0.0, 0.5, 1.0), repeat=3):
        picture = torch.tensor(colour, device=classifier.mean.device)[None, :, None, None]
        with torch.inference_mode():
            rows.append(evidence(classifier.deepest(picture.expand(1, 3, size, size)), concepts).cpu())
    return torch.cat(rows)


def frame_features(
    classifier: Classifier,
    shots: Sequence[Shot],
    source: FrameSource,
    config: ClassifierConfig,
    run: RunFolder,
    workers: int,
    concepts: Concepts | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the head is given, (N, K), and evidence, (N, E), of every frame of some shots, in order.

    Both are float32 on the CPU.

    A shot whose features the run folder holds is not computed again. A batch has frames of one shot, so that
    what was interrupted and goes on gives the same bits.

    Raises:
        FrameError: frames cannot be read (all are named); the shots before them are kept.
        RunError: what the run folder holds is damaged.
    """
    names = {shot.id: f"frames/{number:06d}" for number, shot in enumerate(shots)}
    missing = [shot for shot in shots if not run.has(names[shot.id])]
    total, device = sum(map(len, shots)), classifier.mean.device
    size = config.image_size or classifier.preprocessing.size
    batches = load_batches(ShotBatches(missing, config.batch_size), source, size, workers)
    with progress_bar(total, "pooling", "frame", done=total - sum(map(len, missing))) as bar:
        for shot_id, of_shot in groupby(only_readable(batches), key=lambda batch: batch.frames[0][0].id):
            pooled, frame_evidence = [], []
            for batch in of_shot:
                with torch.inference_mode():
                    deepest = classifier.deepest(as_images(batch.rgb, device))
                    pooled.append(deepest.mean((2, 3)).cpu())
                    frame_evidence.append(evidence(deepest, concepts).cpu())
                bar.update(len(batch.frames))
            run.save(names[shot_id], {"features": torch.cat(pooled), "evidence": torch.cat(frame_evidence)})
    kept = [run.load(name) for name in names.values()]
    return torch.cat([one["features"] for one in kept]), torch.cat([one["evidence"] for one in kept])


def _warn_of_lone_videos(shots: Sequence[Shot]) -> None:
    videos: dict[str, set[str]] = defaultdict(set)
    for shot in shots:
        videos[shot.tag].add(shot.video)
    lone = [tag for tag, names in videos.items() if len(names) == 1]
    if len(lone) == len(videos):
        logger.warning(
            "no tag has two videos, so none can be left out to choose the strength: C = %.3g is taken, and "
            "how right the tags of other videos are is not known",
            UNCHOSEN,
        )
    elif lone:
        logger.warning(
            "tags with one video, which stays in training and says nothing of the accuracy: %s",
            ", ".join(lone),
        )
