"""Find a network's weights in a checkpoint of any training code, and remove prefixes from their names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch

# The layers after pooling, as torchvision, timm and others name them: they classify ImageNet; none is used.
CLASSIFICATION_LAYERS = ("fc.", "classifier.", "head.", "heads.", "last_linear.", "pre_logits.")
# Parts that data parallelism, torch.compile and sharding add to keys.
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
# Entries with the exponential moving average of the weights, which is the one evaluated.
_AVERAGED = ("ema", "model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict")
_DEPTH = 4

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Found:
    """Weights at one path of a file, in the form that a network can load.

    Attributes:
        place: dotted path of the entries in the file; "" for the file itself.
        prefix: the prefix removed from each name.
        state: tensors by the network's own names; the layers after pooling are left out.
        faults: why they do not fit, one text each.
    """

    place: str
    prefix: str
    state: State
    faults: tuple[str, ...]

    @property
    def name(self) -> str:
        """The path of the weights, for messages.

        >>> Found("ema", "encoder.", {}, ()).name, Found("", "", {}, ()).name
        ("'ema' under 'encoder.'", 'the file itself')
        """
        place = f"{self.place!r}" if self.place else "the file itself"
        return f"{place} under {self.prefix!r}" if self.prefix else place

    @property
    def is_other(self) -> bool:
        """Whether names or shapes are of another network, rather than only values damaged."""
        return any(fault.startswith(("missing", "unexpected", "mis-shaped")) for fault in self.faults)


def state_dicts(values: Any, place: str = "") -> dict[str, dict[str, torch.Tensor]]:
    """Return the state dicts in a nested mapping by their dotted path.

    >>> list(state_dicts({"epoch": 3, "model": {"a.weight": torch.zeros(1)}}))
    ['model']
    """
    if not isinstance(values, Mapping) or place.count(".") >= _DEPTH:
        return {}
    named = {key: value for key, value in values.items() if isinstance(key, str)}
    tensors = {key: value for key, value in named.items() if isinstance(value, torch.Tensor)}
    states = {place: tensors} if tensors else {}
    for key, value in named.items():
        states |= state_dicts(value, f"{place}.{key}" if place else key)
    return states


def backbones(states: Mapping[str, State], wanted: State) -> list[Found]:
    """Return the weights in a file that fit a network's backbone, or else the closest match.

    Args:
        states: state dicts by path.
        wanted: the network's own state dict.
    """
    wanted = _of_backbone(wanted)
    candidates = [
        Found(place, prefix, state, _faults(state, wanted))
        for place, tensors in states.items()
        for prefix, state in _unwrapped(tensors, wanted)
    ]
    fitting = [one for one in candidates if not one.faults]
    averaged = [one for one in fitting if one.place.rpartition(".")[2] in _AVERAGED]
    distinct: list[Found] = []
    for one in averaged or fitting:
        if not any(_equal(one.state, other.state, wanted) for other in distinct):
            distinct.append(one)
    return distinct or [min(candidates, key=lambda one: len(one.faults))]


def _unwrapped(tensors: State, wanted: State) -> Iterator[tuple[str, State]]:
    """Yield (prefix, tensors) for the prefixes under which most of a network's names are found."""
    # Entries beside a wrapped network belong to the wrapper, such as a count of averaged models.
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


def _faults(state: State, wanted: State) -> tuple[str, ...]:
    """Return why a state dict is not the wanted one: each missing, unexpected and mis-shaped key."""
    # Old files have no BatchNorm counters, which evaluation does not use.
    missing = [
        f"missing {key}" for key in wanted if key not in state and not key.endswith("num_batches_tracked")
    ]
    unexpected = [f"unexpected {key}" for key in state if key not in wanted]
    shapes = [fault for key in wanted if key in state and (fault := _misfit(key, state[key], wanted[key]))]
    # Interleaved, so that each kind is among the few that are shown.
    return tuple(fault for turn in zip_longest(missing, unexpected, shapes) for fault in turn if fault)


def _misfit(key: str, actual: torch.Tensor, expected: torch.Tensor) -> str | None:
    if actual.shape != expected.shape:
        return f"mis-shaped {key}: got {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    if not expected.is_floating_point():
        return None
    if not actual.is_floating_point():
        return f"mis-typed {key}: got {actual.dtype}, expected floating point"
    return None if actual.isfinite().all() else f"not finite: {key}"


def _equal(first: State, second: State, names: State) -> bool:
    return all(torch.equal(first[name], second[name]) for name in names if name in first and name in second)


def _of_backbone(state: State) -> State:
    return {key: value for key, value in state.items() if not key.startswith(CLASSIFICATION_LAYERS)}
