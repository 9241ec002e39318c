"""A run as one graph: frames in, maps and logits out, the partial backward pass of its CAMs included."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx

from tcam_cache.cams import ScaledCams
from tcam_cache.cams.extractor import PREDICTION, SMOOTH
from tcam_cache.devices import as_images
from tcam_cache.errors import ConfigError
from tcam_cache.extras import optional
from tcam_cache.files import atomic_file
from tcam_cache.inference.localizer import Localizer
from tcam_cache.models.convolution import input_gradient

# Not 1, which a trace takes for a constant.
_EXAMPLES = 2
# An index that stands for the predicted class.
PREDICTED = -1


@dataclass(frozen=True)
class RunGraph:
    """A run as a function of frames, and of tags where CAMs are mixed into its maps.

    Attributes:
        localizer: the run.
    """

    localizer: Localizer

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return ("frames",) if self.localizer.config.mix == "none" else ("frames", "tags")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(self(*self.examples()))

    @property
    def facts(self) -> str:
        """What a program must know that runs the graph, as JSON text."""
        classifier = self.localizer.classifier
        return json.dumps(
            {
                "classes": classifier.classes,
                "image_size": self.localizer.side,
                "interpolation": classifier.preprocessing.interpolation,
                "tau": self.localizer.tau,
            }
        )

    def examples(self, batch: int = _EXAMPLES) -> tuple[Tensor, ...]:
        """Return inputs of the right shapes and types: black frames, and no tags."""
        side = self.localizer.side
        frames = torch.zeros(batch, 3, side, side, dtype=torch.uint8, device=self.localizer.device)
        return (frames, torch.full((batch,), PREDICTED, device=frames.device))[: len(self.inputs)]

    def __call__(self, frames: Tensor, tags: Tensor | None = None) -> dict[str, Tensor]:
        """Return the fields of `Located` that the run has, by name.

        Args:
            frames: (B, 3, S, S) uint8 RGB, squashed to the side S that the run was trained at.
            tags: (B,) int64 indices of the classes whose CAMs are mixed in; -1 for the predicted one.
        """
        images = as_images(frames, self.localizer.device)
        located = self.localizer.located(images, PREDICTION if tags is None else tags)
        return {name: value for name, value in located._asdict().items() if value is not None}

    @cached_property
    def program(self) -> ExportedProgram:
        """The graph, for any number of frames. The trace goes through autograd: only operators remain.

        Raises:
            ConfigError: torch is too old, or its CAMs are made with noise, drawn anew in every runtime.
        """
        if not hasattr(Dim, "DYNAMIC"):
            raise ConfigError(f"got torch {torch.__version__}; a graph of a run takes torch 2.6 or newer.")
        extractor = self.localizer.extractor
        if isinstance(extractor, ScaledCams):
            extractor = extractor.extractor
        if "tags" in self.inputs and extractor.method == SMOOTH and not extractor.is_closed:
            raise ConfigError(
                f"the run mixes in CAMs by {SMOOTH}, which are made with noise: got no graph of it. Export a "
                "run on a cache of another method."
            )
        examples = self.examples()
        traced = make_fx(
            lambda *tensors: self(*tensors), _GRADIENTS, tracing_mode="symbolic", _allow_non_fake_inputs=True
        )(*examples)
        for node in traced.graph.nodes:
            # Other runtimes lay tensors out in another way, in which a view may be impossible.
            if node.target is torch.ops.aten.view.default:
                node.target = torch.ops.aten.reshape.default
        traced.recompile()
        batches = tuple({0: Dim.DYNAMIC} for _ in examples)
        return torch.export.export(traced, examples, dynamic_shapes=batches, strict=False)


def write_torch_export(run: RunGraph, path: Path) -> None:
    """Write the graph of a run for `torch.export.load`, atomically, with its facts as "facts.json".

    Raises:
        ConfigError: as `RunGraph.program` raises it.
        StorageError: the file system refuses the write.
    """
    program = run.program
    # torch warns of weights that are channels last, which it stores and loads as they are.
    with atomic_file(path) as file, warnings.catch_warnings(action="ignore"):
        torch.export.save(program, file, extra_files={"facts.json": run.facts})


def write_onnx(run: RunGraph, path: Path) -> None:
    """Write the graph of a run as ONNX, atomically, with its facts as "facts" in the metadata.

    Raises:
        ConfigError: as `RunGraph.program` raises it.
        ExtraError: onnx or onnxscript is not installed.
        StorageError: the file system refuses the write.
    """
    for package in ("onnx", "onnxscript"):
        optional(package, "onnx")
    program, taken, outputs = run.program, list(run.inputs), list(run.outputs)
    with warnings.catch_warnings(action="ignore"):  # torch's exporter uses what torch deprecated
        onnx_program: Any = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=taken, output_names=outputs
        )
    model = onnx_program.model_proto
    model.metadata_props.add(key="facts", value=run.facts)
    with atomic_file(path) as file:
        file.write(model.SerializeToString())


def _of_convolution(
    gradient: Tensor,
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
        return input_gradient(gradient, weight, padding, dilation, groups), None, None
    sides = zip(
        values.shape[2:], gradient.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
    )
    lost = [
        side - ((cells - 1) * step - 2 * edge + wide * (extent - 1) + 1)
        for side, cells, extent, step, edge, wide in sides
    ]
    grown = torch.ops.aten.convolution(gradient, weight, None, stride, padding, dilation, True, lost, groups)
    return grown, None, None


def _of_max_pool(gradient: Tensor, values: Tensor, *rest: Any) -> Tensor:
    """Return the gradient of a max pooling; the last of the arguments are the places of the maxima."""
    empty = torch.zeros_like(values).flatten(2)
    return empty.scatter_add(2, rest[-1].flatten(2), gradient.flatten(2)).reshape(values.shape)


_GRADIENTS = {
    torch.ops.aten.convolution_backward.default: _of_convolution,
    torch.ops.aten.max_pool2d_with_indices_backward.default: _of_max_pool,
}
