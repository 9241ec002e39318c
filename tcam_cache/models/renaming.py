"""Translate the parameter names of EfficientNet-PyTorch into timm's."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_INSIDE = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# A block without expansion begins with the depthwise convolution, from which timm numbers its layers.
_INSIDE_WITHOUT_EXPANSION = {
    **_INSIDE,
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")


def timm_names(values: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """Return a state dict with EfficientNet-PyTorch's names translated into timm's; other names stay.

    Args:
        values: tensors by name.
        wanted: parameter names of the timm network that loads them; they say which stage has which blocks.
    """
    stages = list(
        dict.fromkeys(".".join(name.split(".")[:3]) for name in wanted if name.startswith("blocks."))
    )
    if not stages or not any(name.startswith("_blocks.") for name in values):
        return dict(values)
    expanding = {match[1] for name in values if (match := _BLOCK.match(name)) and match[2] == "_expand_conv"}

    def renamed(name: str) -> str:
        """Return timm's name of one tensor."""
        if not (match := _BLOCK.fullmatch(name)):
            first, _, rest = name.partition(".")
            return f"{_OUTSIDE.get(first, first)}.{rest}"
        number, part, rest = match.groups()
        parts = _INSIDE if number in expanding else _INSIDE_WITHOUT_EXPANSION
        if int(number) >= len(stages) or part not in parts:
            return name
        return f"{stages[int(number)]}.{parts[part]}.{rest}"

    return {renamed(name): value for name, value in values.items()}
