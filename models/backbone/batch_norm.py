"""A batch norm that keeps its eps in YOLOv5, and the folding of batch norms into convolutions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that keeps the eps it was trained with.

    YOLOv5's `initialize_weights` sets eps to 1e-3 on every module whose type is exactly `nn.BatchNorm2d`, which changes
    the features of a network trained with 1e-5. It skips a subclass. Everywhere else a subclass counts as a batch norm:
    optimizer groups, SyncBatchNorm conversion, `model.train()`.
    """


def outside_inference_mode() -> AbstractContextManager[Any]:
    """Return a context in which new tensors can later be trained; before torch 1.9 every context is one.

    YOLOv5 loads and fuses inside `torch.inference_mode()`. A tensor that is created there can never have a gradient.
    """
    inference_mode: Any = getattr(torch, "inference_mode", None)
    return inference_mode(False) if inference_mode else nullcontext()


def in_float64(tensor: Tensor) -> Tensor:
    """Return a tensor's values in float64 on the CPU; some devices, such as MPS, have no float64."""
    values = tensor.detach()
    return (values if values.is_meta else values.cpu()).double()


def cast_like(values: Tensor, tensor: Tensor) -> Tensor:
    """Return `values` in the dtype and on the device of `tensor`."""
    return values.to(tensor.dtype).to(tensor.device)


def fold_batch_norm(conv: nn.Conv2d, bn: Any) -> None:
    """Make `conv` compute what `bn(conv(x))` does in eval mode.

    The parameters are replaced, not written to, so that an earlier `state_dict()` does not change; device, dtype and
    requires_grad are kept. The arithmetic is in float64, so folding costs one rounding.

    Args:
        conv: a convolution, with or without bias, also a pruned or parametrised one; afterwards it is a plain one.
        bn: a batch norm with weight, bias and running statistics.
    """
    with outside_inference_mode(), torch.no_grad():
        trained = conv.weight.requires_grad
        make_plain(conv)
        make_plain(bn)
        scale = in_float64(bn.weight) / (in_float64(bn.running_var) + bn.eps).sqrt()
        mean = in_float64(bn.running_mean)
        if conv.bias is not None:
            mean = mean - in_float64(conv.bias)
        weight = in_float64(conv.weight) * scale.reshape(-1, 1, 1, 1)
        bias = in_float64(bn.bias) - mean * scale
        conv.bias = nn.Parameter(cast_like(bias, conv.weight), requires_grad=trained)
        conv.weight = nn.Parameter(cast_like(weight, conv.weight), requires_grad=trained)


def make_plain(module: nn.Module) -> None:
    """Replace weights that are computed from other tensors by parameters with the same values, in place.

    Such weights come from torch's pruning, weight norm, spectral norm and `parametrize`.
    """
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)
        elif isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
    for name in list(getattr(module, "parametrizations", {})):
        # imported here, because torch 1.8 has neither the module nor parametrised weights
        from torch.nn.utils.parametrize import remove_parametrizations

        # without gradients, a weight that is computed from several tensors would become a buffer
        with torch.enable_grad():
            remove_parametrizations(module, name)
