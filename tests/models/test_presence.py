"""Tests of presence: hand-worked evidence and margins, and which layer of a file is taken."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tcam_cache.models import Concepts, Presence
from tcam_cache.models.presence import concepts_in, evidence, margins

HEAD = {"fc.weight": torch.ones(100, 8), "fc.bias": torch.zeros(100)}


def test_evidence_is_the_strongest_window_of_means():
    deepest = torch.zeros(1, 1, 14, 14)
    deepest[0, 0, 0, :3] = 4  # two of four pixels of the first window, one of the second
    assert evidence(deepest, None).tolist() == [[2.0]]


def test_a_concept_takes_all_its_evidence_from_one_window():
    deepest = torch.tensor([[[[3.0, 0.0]], [[0.0, 2.0]]]])
    concepts = Concepts(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([0.0, 1.0]))
    assert evidence(deepest, concepts).tolist() == [[3.0, 4.0]]


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 5)), elements=st.integers(-9, 9)))
def test_a_margin_is_the_score_less_the_highest_other(scores):
    expected = [[row[c] - np.delete(row, c).max() for c in range(len(row))] for row in scores]
    assert margins(torch.from_numpy(scores)).tolist() == expected


def presence(slope=2.0, offset=1.0):
    # Two tags and nothing: each tag is one feature; nothing scores one half.
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    bias = torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)
    return Presence(None, weight, bias, slope, offset, 0.5, {"presence_auroc": 90.0})


def test_presence_is_a_logistic_function_of_the_margin_over_other_tags_and_nothing():
    deepest = torch.tensor([[3.0, 1.0], [0.0, 0.0]])[:, :, None, None]
    odds = torch.tensor([[2.0, -2.0], [-0.5, -0.5]])
    torch.testing.assert_close(presence().of(deepest), torch.sigmoid(2 * odds + 1))


def test_presence_is_read_back_with_and_without_concepts():
    for concepts in (None, Concepts(torch.ones(2, 3), torch.zeros(2))):
        kept = presence()._replace(concepts=concepts)
        again = Presence.from_values(kept.to_values())
        assert type(again.concepts) is type(concepts) and again[3:] == kept[3:]
        assert torch.equal(again.weight, kept.weight)


@pytest.mark.parametrize(
    "states",
    [
        {"": HEAD},
        {"model": {f"module.{name}": value for name, value in HEAD.items()}},
        {"": {"classifier.1.weight": torch.ones(100, 8, 1, 1), "classifier.1.bias": torch.zeros(100)}},
        {"": {"_fc.weight": torch.ones(100, 8), "_fc.bias": torch.zeros(100)}},
    ],
    ids=["linear", "wrapped", "convolution", "lite"],
)
def test_a_classification_layer_on_the_deepest_features_is_found(states):
    found = concepts_in(states, 8)
    assert found is not None and (found.weight == 1).all() and found.weight.shape == (100, 8)
    assert found.bias.shape == (100,) and found.weight.dtype == torch.float16


@pytest.mark.parametrize(
    "state",
    [
        {"mlp.fc1.weight": torch.ones(100, 8), "mlp.fc1.bias": torch.zeros(100)},
        {"fc.weight": torch.ones(100, 9), "fc.bias": torch.zeros(100)},
        {"fc.weight": torch.ones(99, 8), "fc.bias": torch.zeros(99)},
        {"fc.weight": torch.ones(100, 8)},
        {"fc.weight": torch.full((100, 8), torch.nan), "fc.bias": torch.zeros(100)},
        {**HEAD, "classifier.3.weight": torch.ones(100, 100), "classifier.3.bias": torch.zeros(100)},
    ],
    ids=["a block's", "other depth", "few", "no bias", "no numbers", "two layers"],
)
def test_what_is_no_single_classification_layer_is_left(state):
    assert concepts_in({"": state}, 8) is None
