"""The only import of torchvision, made to work beside a torch build that lacks its compiled operators."""

import importlib
import sys
from types import ModuleType

import torch

# torchvision registers fake kernels for these two operators without asking whether its library was loaded.
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []


def torchvision_models() -> ModuleType:
    """Import and return `torchvision.models`; only the networks are used, none of the compiled operators.

    A CPU build of torch beside a CUDA build of torchvision fails with "operator torchvision::nms does not
    exist". Only after that failure are the two schemas declared (declaring them first would abort the process
    where the real library loads).
    """
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        library.define(schema)
    _declared.append(library)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    return importlib.import_module("torchvision.models")
