"""A network on a GPU that is not there: PyTorch's fake tensors have shapes, dtypes and devices, and no values.

A script that runs inside a checkout puts this folder on `sys.path` and imports `pretended_gpu`.
"""

import copy

from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode


def pretended(model, mode, dtype):
    """A copy whose tensors have no values, and say that they are on a GPU."""
    with FakeCopyMode(mode):
        model = copy.deepcopy(model)
    with mode:
        for module in model.modules():
            for name, value in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(value.detach().to("cuda", dtype)))
            for name, value in module.named_buffers(recurse=False):
                setattr(module, name, value.to("cuda", dtype if value.is_floating_point() else value.dtype))
    return model
