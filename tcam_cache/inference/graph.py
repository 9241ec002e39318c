"""A run as one graph: frames in, maps and logits out, the partial backward pass of its CAMs included."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx

from tcam_cache.devices import as_images
from tcam_cache.extras import optional
from tcam_cache.files import atomic_file
from tcam_cache.inference.localizer import Localizer
from tcam_cache.models.convolution import input_gradient

# Not 1, which a trace takes for a constant.
_EXAMPLES = 2
# An index that stands for the predicted class.
PREDICTED = -1


class RunGraph(torch.nn.Module):
    """A run as a function of frames and tags.

    >>> from tcam_cache.inference.graph import RunGraph
    """

    def __init__(self, localizer: Localizer) -> None:
        super().__init__()
        self.localizer = localizer

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs; tags are asked for where CAMs are mixed in."""
        return ("frames",) if self.localizer.config.mix == "none" else ("frames", "tags")

    def examples(self, batch: int = _EXAMPLES) -> tuple[Tensor, ...]:
        """Return inputs of the right shapes and types: black frames, and no tags."""
        side = self.localizer.config.image_size
        frames = torch.zeros(batch, 3, side, side, dtype=torch.uint8, device=self.localizer.device)
        return (frames, torch.full((batch,), PREDICTED, device=frames.device))[: len(self.inputs)]

    def forward(self, frames: Tensor, tags: Tensor | None = None) -> dict[str, Tensor]:
        """Return the fields of `Located` that the run has, by name.

        Args:
            frames: (B, 3, S, S) uint8 RGB, squashed to the side S that the run was trained at.
            tags: (B,) int64 indices of the classes whose CAMs are mixed in; -1 for the predicted one.
        """
        tags = torch.full_like(frames[:, 0, 0, 0], PREDICTED, dtype=torch.int64) if tags is None else tags
        located = self.localizer.located(as_images(frames, self.localizer.device), tags)
        return {name: value for name, value in located._asdict().items() if value is not None}


def exported(localizer: Localizer) -> ExportedProgram:
    """Return the graph of a run for any number of frames; `RunGraph.forward` says what it takes and returns.

    The trace goes through autograd: what remains are plain operators, forward and backward.
    """
    run = RunGraph(localizer)
    examples = run.examples()
    batches = tuple({0: Dim.DYNAMIC} for _ in examples)
    traced = make_fx(
        lambda *given: run(*given), _GRADIENTS, tracing_mode="symbolic", _allow_non_fake_inputs=True
    )(*examples)
    for node in traced.graph.nodes:
        # Other runtimes lay tensors out in another way, in which a view may be impossible.
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default
    traced.recompile()
    return torch.export.export(traced, examples, dynamic_shapes=batches, strict=False)


def write_torch_export(localizer: Localizer, path: Path, facts: str) -> None:
    """Write the graph of a run for `torch.export.load`, atomically.

    Args:
        localizer: the run.
        path: of the file.
        facts: JSON text, kept beside the graph as "facts.json".

    Raises:
        StorageError: the file system refuses the write.
    """
    program = exported(localizer)
    with atomic_file(path) as file:
        torch.export.save(program, file, extra_files={"facts.json": facts})


def write_onnx(localizer: Localizer, path: Path, facts: str) -> None:
    """Write the graph of a run as ONNX, atomically.

    Args:
        localizer: the run.
        path: of the file.
        facts: JSON text, kept in the model's metadata as "facts".

    Raises:
        ExtraError: onnx or onnxscript is not installed.
        StorageError: the file system refuses the write.
    """
    optional("onnx", "onnx")
    optional("onnxscript", "onnx")
    run = RunGraph(localizer)
    names = list(run(*run.examples()))
    program = exported(localizer)
    with warnings.catch_warnings(action="ignore"):  # torch's own exporter uses what torch deprecated
        found: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=list(run.inputs),
            output_names=names,
        )
    model = found.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = "facts", facts
    with atomic_file(path) as file:
        file.write(model.SerializeToString())


def _of_convolution(
    given: Tensor,
    values: Tensor,
    weight: Tensor,
    _bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    _transposed: bool,
    _output_padding: Any,
    groups: int,
    _wanted: Any,
) -> tuple[Tensor, None, None]:
    """Return the gradient of a frozen convolution, by operators that every runtime has."""
    if set(stride) == {1}:
        return input_gradient(given, weight, padding, dilation, groups), None, None
    sides = zip(values.shape[2:], given.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    lost = [
        side - ((cells - 1) * step - 2 * edge + wide * (extent - 1) + 1)
        for side, cells, extent, step, edge, wide in sides
    ]
    grown = torch.ops.aten.convolution(given, weight, None, stride, padding, dilation, True, lost, groups)
    return grown, None, None


def _of_max_pool(given: Tensor, values: Tensor, *rest: Any) -> Tensor:
    """Return the gradient of a max pooling; the last of the arguments are the places of the maxima."""
    empty = torch.zeros_like(values).flatten(2)
    return empty.scatter_add(2, rest[-1].flatten(2), given.flatten(2)).reshape(values.shape)


_GRADIENTS = {
    torch.ops.aten.convolution_backward.default: _of_convolution,
    torch.ops.aten.max_pool2d_with_indices_backward.default: _of_max_pool,
}
