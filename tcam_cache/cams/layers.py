"""Find the modules that CAMs are taken of: by their library's names, or those known to localize well."""

from collections.abc import Sequence

import torch
from torch import nn

from tcam_cache.errors import ConfigError, near_names
from tcam_cache.models import Classifier
from tcam_cache.models.tracing import Call

LAST, AUTO = "last", "auto"
# Modules behind the features, by their names here and in torchvision: their outputs are not spatial.
NOT_SPATIAL = ("head", "fc", "classifier", "avgpool", "pool", "flatten")
# Layers measured best on real video, of networks outside the family that `auto_layers` recognises.
GOOD_LAYERS = {"squeezenet1_0": ("features.7", "features.12")}


def find_layers(classifier: Classifier, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of layers, without repeats, in the order they run.

    Args:
        classifier: whose layers they are.
        wanted: names of modules at any depth, such as "layer3.1" or "layer3.1.conv2"; "layer3" is its last
            part, "last" the deepest layer, "auto" what `auto_layers` finds.

    Raises:
        ConfigError: there is no such layer, or it is not spatial, or it runs several times; the nearest names
            and those of the large layers are listed.

    >>> from tcam_cache.models import Classifier
    >>> find_layers(Classifier("resnet18", ("cat", "dog")), ["last", "layer2", "layer3.1.conv1"])
    ('layer2.1', 'layer3.1.conv1', 'layer4.1')
    """
    layers, named = list(classifier.layers()), classifier.stages.named()
    names: set[str] = set()
    faults = []
    for name in wanted:
        if name == LAST:
            names.add(next(iter(classifier.stages.last()), LAST))
        elif name == AUTO:
            names.update(auto_layers(classifier))
        elif name in named:
            names.add(name)
        elif inside := [one for one in layers if name and one.startswith(f"{name}.")]:
            names.add(inside[-1])
        elif name.split(".")[0] in NOT_SPATIAL:
            faults.append(f"{name}: comes after pooling, its activation is not spatial")
        else:
            faults.append(f"{name or 'an empty name'}: no such layer. {near_names(name, named)}".rstrip())
    runs = _runs(classifier) if names - set(layers) - {LAST} else {}
    for name in sorted(names & set(runs)):
        if runs[name] != 1:
            times = f"runs {runs[name]} times" if runs[name] else "does not run before pooling"
            faults.append(f"{name}: {times} in a forward pass, expected once")
    if faults or not names:
        raise ConfigError(
            f"got {len(faults)} layer(s) of {classifier.arch} that no CAM can be taken of; expected some of: "
            f"{LAST}, {AUTO}, {', '.join(layers)}, or a module inside them.",
            faults,
        )
    return tuple(name for name in [*(runs or layers), LAST] if name in names)


def auto_layers(classifier: Classifier) -> tuple[str, ...]:
    """Return the layers whose averaged LayerCAMs localized best on real video.

    Inverted residuals (MobileNet, EfficientNet, MnasNet): the activation after the depthwise convolution of
    the last block at stride 16, and of the last block of the next stage. The outputs of such blocks are
    linear, of either sign, and localize poorly; the maps of the last layer are coarse. SqueezeNet 1.0: its
    first Fire module at stride 8, and its last. Any other network: the last layer.

    >>> from tcam_cache.models import Classifier
    >>> auto_layers(Classifier("mobilenet_v2", ("cat", "dog")))
    ('features.13.conv.1.2', 'features.16.conv.1.2')
    """
    if classifier.arch in GOOD_LAYERS:
        return GOOD_LAYERS[classifier.arch]
    stages = classifier.stages
    usual = (next(iter(stages.last()), LAST),)
    if len(stages.strides) < 2:
        return usual
    names = {id(module): name for name, module in stages.named().items()}
    early, fine = stages.before(1), stages.side // stages.strides[-2]
    blocks = [
        (names[id(call.module)], call.shape[-1], channels)
        for call, channels in _inverted_residuals(stages.trace().calls)
    ]
    last = max((place for place, (name, *_) in enumerate(blocks) if name in early), default=-1)
    if last < 0 or blocks[last][1] != fine:
        return usual
    behind = blocks[last + 1 :]
    stage = [name for name, _, channels in behind if channels == behind[0][2]]
    return (blocks[last][0], *stage[-1:])


def check_spatial(classifier: Classifier, name: str, activations: torch.Tensor | None, batch: int) -> None:
    """Make sure that a layer's activations (B, K, h, w) have more than one position.

    Raises:
        ConfigError: they are not spatial, or have a single position, whose map would be constant.
    """
    shape = () if activations is None else tuple(activations.shape)
    if len(shape) != 4 or shape[0] != batch or shape[-2] * shape[-1] < 2:
        output = f"activations of shape {shape}" if shape else "no maps"
        raise ConfigError(
            f"layer {name} of {classifier.arch} gives {output}: they are not spatial. Take larger frames, a "
            f"smaller output stride, or an earlier layer: {', '.join(classifier.layers())}."
        )


def _runs(classifier: Classifier) -> dict[str, int]:
    """Return how often each module runs, by name, in the order of their first calls; unused modules last."""
    calls = [id(call.module) for call in classifier.stages.trace().calls]
    named = classifier.stages.named()
    first = {module: place for place, module in reversed(list(enumerate(calls)))}
    counts = {name: calls.count(id(module)) for name, module in named.items()}
    return dict(sorted(counts.items(), key=lambda item: first.get(id(named[item[0]]), len(calls))))


def _inverted_residuals(calls: Sequence[Call]) -> list[tuple[Call, int]]:
    """Return the activation behind each normalised depthwise convolution, and its projection's channels.

    Nothing is returned for a network with linear layers, such as attention: it is of another family.
    """
    blocks: list[tuple[Call, int]] = []
    if any(isinstance(call.module, nn.Linear) for call in calls):
        return blocks
    for place, call in enumerate(calls):
        if not _is_depthwise(call.module):
            continue
        behind = calls[place + 1 :]
        activation = _activation_of(call, behind)
        project = next((one for one in behind if _projects(one)), None)
        if activation is None or project is None:
            continue
        if project.module.in_channels == call.shape[1]:
            blocks.append((activation, project.shape[1]))
    return blocks


def _activation_of(call: Call, behind: Sequence[Call]) -> Call | None:
    """Return the call that activates a convolution's output behind its BatchNorm, or None."""
    state, normalised, activation = call.given, False, None
    for one in behind:
        if one.taken != state or one.given in (None, one.taken):
            continue
        if isinstance(one.module, nn.BatchNorm2d) and not normalised:
            # timm's norms contain the activation.
            normalised, state = True, one.given
            active = getattr(one.module, "act", None)
            activation = one if active is not None and not isinstance(active, nn.Identity) else None
            if activation is not None:
                return activation
        elif normalised and not list(one.module.parameters()):
            return one
        else:
            return None
    return activation


def _is_depthwise(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d):
        return False
    return module.groups == module.in_channels == module.out_channels > 1 and max(module.kernel_size) > 1


def _projects(call: Call) -> bool:
    return isinstance(call.module, nn.Conv2d) and call.module.groups == 1 and call.shape[-1] > 1
