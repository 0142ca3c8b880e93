"""Changes to a built model of timm, so that it computes the same in YOLOv5 as in timm."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from ..batch_norm import BatchNorm2d
from .plan import Plan


class Hardswish(nn.Hardswish):
    """As torch's, but not of the exact type; see `keep_as_built`."""


class LeakyReLU(nn.LeakyReLU):
    """As torch's, but not of the exact type; see `keep_as_built`."""


class ReLU(nn.ReLU):
    """As torch's, but not of the exact type; see `keep_as_built`."""


class ReLU6(nn.ReLU6):
    """As torch's, but not of the exact type; see `keep_as_built`."""


class SiLU(nn.SiLU):
    """As torch's, but not of the exact type; see `keep_as_built`."""


KEPT: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: BatchNorm2d,
    nn.Hardswish: Hardswish,
    nn.LeakyReLU: LeakyReLU,
    nn.ReLU: ReLU,
    nn.ReLU6: ReLU6,
    nn.SiLU: SiLU,
}

BIAS_CACHE = "attention_bias_cache"  # timm's attribute, in five of its families


def keep_as_built(net: nn.Module) -> None:
    """Give layers that YOLOv5 changes by their exact type a subclass, which it skips.

    Its `initialize_weights` sets the eps of batch norms to 1e-3, which changes the features of weights trained with
    another eps. It also makes activations in-place, which overwrites tensors that timm still needs.
    """
    for module in net.modules():
        kept = KEPT.get(type(module))
        if kept is not None:
            module.__class__ = kept  # safe, because the subclasses add no attributes


def drop_idle(net: nn.Module, plan: Plan) -> None:
    """Remove parameters that get no gradient, because distributed training waits for the gradient of each.

    A module that never runs is replaced by an identity. Parameters that run without effect on the maps become buffers.
    """
    for name in plan.idle_modules:
        parent, leaf = parent_of(net, name)
        setattr(parent, leaf, nn.Identity())
    for name in plan.idle_parameters:
        parent, leaf = parent_of(net, name)
        value = getattr(parent, leaf).detach()
        delattr(parent, leaf)
        parent.register_buffer(leaf, value)


def parent_of(net: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the parent module of `name`, a dotted path as in `named_parameters`, and the last part of the name."""
    *path, leaf = name.split(".")
    module = net
    for part in path:
        module = getattr(module, part)
    return module, leaf


def caches_biases(net: nn.Module) -> bool:
    """Whether a part of the model caches attention biases in eval mode, as LeViT's attention does."""
    return any(hasattr(module, BIAS_CACHE) for module in net.modules())


def forget_biases(net: nn.Module) -> None:
    """Empty the caches of attention biases.

    The caches are tensors that cannot be copied, and that neither `half()` nor a moving average of the parameters
    updates: YOLOv5's first validation would fail, or use biases that do not belong to the model.
    """
    for module in net.modules():
        if getattr(module, BIAS_CACHE, None):
            setattr(module, BIAS_CACHE, {})


def restore_synced_activations(module: nn.Module) -> None:
    """Restore the activations of timm's norms after `nn.SyncBatchNorm.convert_sync_batchnorm`.

    YOLOv5's --sync-bn calls it. It turns a `BatchNormAct2d` into a plain SyncBatchNorm that keeps the activation as a
    child but never runs it.
    """
    for norm in module.modules():
        if type(norm) is nn.SyncBatchNorm and hasattr(norm, "act"):
            norm.__class__ = timm_layers().SyncBatchNormAct


def timm_layers() -> Any:
    """Return timm's module of layers, which was `timm.models.layers` before 0.8."""
    try:
        return importlib.import_module("timm.layers")
    except ImportError:
        return importlib.import_module("timm.models.layers")
