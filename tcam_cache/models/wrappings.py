"""A network's weights among all that training code saves around them: found, and freed of what wraps them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch

# The layers after pooling, as torchvision, timm and others name them: they classify ImageNet; none is used.
CLASSIFICATION_LAYERS = ("fc.", "classifier.", "head.", "heads.", "last_linear.", "pre_logits.")
# Parts of a key that data parallelism, torch.compile and sharding put into it.
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
# Where a file keeps the running mean of the weights, which those who saved it score with.
_AVERAGED = ("ema", "model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict")
_DEPTH = 4

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Found:
    """Weights at one place of a file, as a network may load them.

    Attributes:
        place: the entries that lead to them, with dots; "" for the file itself.
        prefix: what stood before each of their names.
        state: tensors by the network's own names; the layers after pooling are left out.
        faults: why they do not fit, one text each.
    """

    place: str
    prefix: str
    state: State
    faults: tuple[str, ...]

    @property
    def name(self) -> str:
        """Where the weights are, in words.

        >>> Found("ema", "encoder.", {}, ()).name, Found("", "", {}, ()).name
        ("'ema' under 'encoder.'", 'the file itself')
        """
        place = f"{self.place!r}" if self.place else "the file itself"
        return f"{place} under {self.prefix!r}" if self.prefix else place

    @property
    def is_other(self) -> bool:
        """Whether names or shapes are those of another network, not the numbers alone damaged."""
        return any(fault.startswith(("missing", "unexpected", "mis-shaped")) for fault in self.faults)


def state_dicts(values: Any, place: str = "") -> dict[str, dict[str, torch.Tensor]]:
    """Return the tensors by name at every place of a nested mapping, by the place.

    >>> list(state_dicts({"epoch": 3, "model": {"a.weight": torch.zeros(1)}}))
    ['model']
    """
    if not isinstance(values, Mapping) or place.count(".") >= _DEPTH:
        return {}
    named = {key: value for key, value in values.items() if isinstance(key, str)}
    tensors = {key: value for key, value in named.items() if isinstance(value, torch.Tensor)}
    found = {place: tensors} if tensors else {}
    for key, value in named.items():
        found |= state_dicts(value, f"{place}.{key}" if place else key)
    return found


def backbones(states: Mapping[str, State], wanted: State) -> list[Found]:
    """Return what a file holds that may be a network's backbone: all that fit, or else the nearest to it.

    Args:
        states: tensors by name, by place.
        wanted: the network's own state dict.
    """
    wanted = _of_backbone(wanted)
    found = [
        Found(place, prefix, state, _faults(state, wanted))
        for place, tensors in states.items()
        for prefix, state in _unwrapped(tensors, wanted)
    ]
    fitting = [one for one in found if not one.faults]
    averaged = [one for one in fitting if one.place.rpartition(".")[2] in _AVERAGED]
    distinct: list[Found] = []
    for one in averaged or fitting:
        if not any(_equal(one.state, other.state, wanted) for other in distinct):
            distinct.append(one)
    return distinct or [min(found, key=lambda one: len(one.faults))]


def _unwrapped(tensors: State, wanted: State) -> Iterator[tuple[str, State]]:
    """Yield the prefixes at which a network's names are, all that are as complete, and what is below each."""
    # What stands beside a wrapped network is the wrapper's own, such as a count of averaged models.
    inside = {key: value for key, value in tensors.items() if key.split(".")[0] in WRAPPERS} or tensors
    plain = {
        ".".join(part for part in key.split(".") if part not in WRAPPERS): value
        for key, value in inside.items()
    }
    names = list(wanted)
    anchors = {names[0], names[len(names) // 2], names[-1]}
    prefixes = {key.removesuffix(anchor) for key in plain for anchor in anchors if key.endswith(anchor)}
    covered = {
        prefix: sum(prefix + name in plain for name in names)
        for prefix in sorted({"", *prefixes})
        if not prefix or prefix.endswith(".")
    }
    for prefix, count in covered.items():
        if count == max(covered.values()):
            below = {key[len(prefix) :]: value for key, value in plain.items() if key.startswith(prefix)}
            yield prefix, _of_backbone(below)


def _faults(given: State, wanted: State) -> tuple[str, ...]:
    """Return why a state dict is not the wanted one: each missing, unexpected and mis-shaped key."""
    # Counters of BatchNorm are absent from old files and play no part in evaluation.
    missing = [
        f"missing {key}" for key in wanted if key not in given and not key.endswith("num_batches_tracked")
    ]
    unexpected = [f"unexpected {key}" for key in given if key not in wanted]
    shapes = [fault for key in wanted if key in given and (fault := _misfit(key, given[key], wanted[key]))]
    # In turn, so that each kind is among the few that are shown.
    return tuple(fault for turn in zip_longest(missing, unexpected, shapes) for fault in turn if fault)


def _misfit(key: str, given: torch.Tensor, wanted: torch.Tensor) -> str | None:
    if given.shape != wanted.shape:
        return f"mis-shaped {key}: got {tuple(given.shape)}, expected {tuple(wanted.shape)}"
    if not wanted.is_floating_point():
        return None
    if not given.is_floating_point():
        return f"mis-typed {key}: got {given.dtype}, expected floating point"
    return None if given.isfinite().all() else f"not finite: {key}"


def _equal(one: State, other: State, names: State) -> bool:
    return all(torch.equal(one[name], other[name]) for name in names if name in one and name in other)


def _of_backbone(state: State) -> State:
    return {key: value for key, value in state.items() if not key.startswith(CLASSIFICATION_LAYERS)}
