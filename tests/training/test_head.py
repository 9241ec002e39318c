"""Tests of the head's fit: what is pooled, what is kept, and what the network then says."""

import logging
import re

import numpy as np
import pytest
import torch

from tcam_cache.config import ClassifierConfig
from tcam_cache.datasets import read_manifest
from tcam_cache.datasets.frames import frame_source
from tcam_cache.errors import FrameError, RunError, WeightsError
from tcam_cache.models import seeded_classifier
from tcam_cache.training import RunFolder, fit_head
from tcam_cache.training.head import frame_features
from tcam_cache.training.probe import fit_probe

SIDE = 32


class Counting:
    """A frame source that notes which shots it reads, and fails on some."""

    def __init__(self, source, broken=()):
        self.source, self.broken, self.read_shots = source, broken, []

    def read(self, shot, t, size=None):
        self.read_shots.append(shot.id)
        if (shot.id, t) in self.broken:
            raise FrameError("broken", [f"{shot.id} {t}"])
        return self.source.read(shot, t, size)


@pytest.fixture(scope="module")
def manifest(small_manifest):
    return read_manifest(small_manifest)


@pytest.fixture(scope="module")
def source(manifest):
    return frame_source(manifest)


@pytest.fixture
def classifier(manifest):
    return seeded_classifier("squeezenet1_1", manifest.classes, None, seed=0).freeze()


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def settings(**given):
    return ClassifierConfig(**{"manifest": "m", "out": "g.pt", "fit": "probe", "image_size": SIDE, **given})


def images_of(source, shots):
    pixels = [source.read(shot, t, SIDE).pixels for shot in shots for t in range(len(shot))]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255


def test_whole_frames_are_pooled_in_the_order_of_the_shots(classifier, manifest, source, run):
    shots = manifest.shots[:3]
    features, _ = frame_features(classifier, shots, source, settings(batch_size=4), run, workers=0)
    deepest = classifier.stages.deepest(classifier.standardised(images_of(source, shots)))
    torch.testing.assert_close(features, deepest.mean((2, 3)))
    assert features.dtype == torch.float32 and features.std() > 0


def test_the_networks_logits_are_the_probes_decision_function(classifier, manifest, source, run):
    scores, _ = fit_head(classifier, manifest.shots, source, settings(), run, workers=0)
    features, _ = frame_features(classifier, manifest.shots, source, settings(), run, workers=0)
    features = features.numpy()
    frames = [(manifest.classes.index(shot.tag), shot.video) for shot in manifest.shots for _ in shot.frames]
    probe = fit_probe(features, *zip(*frames, strict=True))
    logits = classifier(images_of(source, manifest.shots))
    assert logits.abs().max() > 0.01
    np.testing.assert_allclose(logits.numpy(), probe.logits(features), atol=1e-4, rtol=1e-4)
    assert {key: scores[key] for key in scores if not key.startswith("presence")} == {
        "strength": probe.strength,
        "frames": 35,
        "videos": 8,
        "left_out_accuracy": 100 * probe.accuracy,
    }


def test_shots_that_are_kept_are_not_read_again_and_the_features_are_the_same(
    classifier, manifest, source, run
):
    shots, whole = manifest.shots, RunFolder(run.path.with_name("whole"))
    counting = Counting(source, broken={(shots[4].id, 0), (shots[6].id, 1)})
    with pytest.raises(FrameError, match="2 frame") as caught:
        frame_features(classifier, shots, counting, settings(), run, workers=0)
    assert caught.value.offenders == (f"{shots[4].id} 0", f"{shots[6].id} 1")
    again = Counting(source)
    resumed, _ = frame_features(classifier, shots, again, settings(), run, workers=0)
    assert shots[0].id not in again.read_shots and shots[4].id in again.read_shots
    assert torch.equal(resumed, frame_features(classifier, shots, source, settings(), whole, workers=0)[0])


def test_features_that_were_damaged_on_disk_are_named(classifier, manifest, source, run):
    shots = manifest.shots[:2]
    frame_features(classifier, shots, source, settings(), run, workers=0)
    (run.path / "frames/000001.pt").write_bytes(b"cut")
    with pytest.raises(RunError, match=r"frames/000001\.pt is damaged"):
        frame_features(classifier, shots, source, settings(), run, workers=0)


def test_of_a_long_shot_some_frames_are_taken_from_first_to_last(classifier, manifest, source, run):
    scores, _ = fit_head(classifier, manifest.shots, source, settings(probe_frames=2), run, workers=0)
    assert scores["frames"] == sum(min(2, len(shot)) for shot in manifest.shots) == 21
    longest = next(number for number, shot in enumerate(manifest.shots) if len(shot) == 6)
    kept = run.load(f"frames/{longest:06d}")["features"]
    ends = images_of(source, [manifest.shots[longest].only([0, 5])])
    torch.testing.assert_close(kept, classifier.pooled(ends))


def test_in_all_no_more_frames_are_taken_than_asked_of_each_video_the_same(classifier, manifest, source, run):
    scores, _ = fit_head(classifier, manifest.shots, source, settings(probe_total=16), run, workers=0)
    assert (scores["videos"], scores["frames"]) == (8, 16)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (lambda shot: shot.split == "train", "no tag has two videos, so none can be left out"),
        (lambda shot: shot.video != "dog/0002", "tags with one video, .*: dog$"),
        (lambda shot: True, "^$"),
    ],
    ids=["every tag", "a tag", "none"],
)
def test_tags_with_one_video_are_said(classifier, manifest, source, run, caplog, kept, said):
    shots = [shot for shot in manifest.shots if kept(shot)]
    with caplog.at_level(logging.WARNING, "tcam_cache"):
        scores, presence = fit_head(classifier, shots, source, settings(probe_frames=1), run, workers=0)
    assert re.search(said, "\n".join(record.getMessage() for record in caplog.records))
    assert ("left_out_accuracy" in scores) == (said[:2] != "no")
    assert ("presence_auroc" in scores) == (presence is not None) == (said[:2] != "no")


def test_weights_that_give_no_numbers_are_refused(classifier, manifest, source, run):
    next(classifier.stages.parameters()).fill_(float("nan"))
    with pytest.raises(WeightsError, match="features of 35 of 35 frames are not finite"):
        fit_head(classifier, manifest.shots, source, settings(), run, workers=0)


def test_a_probe_of_the_middles_of_shots_pools_their_frames_alone(classifier, manifest, source, run):
    shots, read = manifest.split("train"), Counting(source)
    scores, _ = fit_head(classifier, shots, read, settings(middle=0.5), run, workers=0)
    # Of 6, 1, 5, 2 and 4 frames: 4, 1, 3, 2 and 2.
    assert scores["frames"] == len(read.read_shots) == 12
