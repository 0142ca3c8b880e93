"""Batch norms that keep what they were trained with, and their folding into convolutions."""

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

    YOLOv5's `initialize_weights` sets eps to 1e-3 on every module whose type is exactly `nn.BatchNorm2d`; that moves
    the features of a network trained with 1e-5. A subclass is passed over there, and is a batch norm everywhere else:
    optimizer groups, SyncBatchNorm conversion, `model.train()`.
    """


def outside_inference_mode() -> AbstractContextManager[Any]:
    """Return a context in which new tensors may be used for training later; torch before 1.9 has no other.

    YOLOv5 loads and fuses inside `torch.inference_mode()`. A tensor that is made there can never again have a gradient.
    """
    inference_mode: Any = getattr(torch, "inference_mode", None)
    return inference_mode(False) if inference_mode else nullcontext()


def in_float64(tensor: Tensor) -> Tensor:
    """Return a tensor's values in float64, on the CPU, because some devices (MPS) have no float64."""
    values = tensor.detach()
    return (values if values.is_meta else values.cpu()).double()


def cast_like(values: Tensor, tensor: Tensor) -> Tensor:
    """Return `values` in the dtype and on the device of `tensor`."""
    return values.to(tensor.dtype).to(tensor.device)


def fold_batch_norm(conv: nn.Conv2d, bn: Any) -> None:
    """Make `conv` compute what `bn(conv(x))` does in eval mode.

    The parameters are replaced, not written to, so that a `state_dict()` taken before stays what it is; device, dtype
    and requires_grad are kept. The arithmetic is done in float64: folding costs no more than one rounding.

    Args:
        conv: a convolution, with or without bias, perhaps pruned or parametrised; it is an ordinary one afterwards.
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
    """Turn weights that are computed from other tensors into parameters, in place and with the same values.

    These are what torch's pruning, weight norm, spectral norm and `parametrize` leave behind.
    """
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)
        elif isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
    for name in list(getattr(module, "parametrizations", {})):
        # imported here, because torch 1.8 has neither the module nor what it makes
        from torch.nn.utils.parametrize import remove_parametrizations

        with torch.enable_grad():  # otherwise a weight that is made of several tensors becomes a buffer
            remove_parametrizations(module, name)
