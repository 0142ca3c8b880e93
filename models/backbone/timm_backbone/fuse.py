"""Rewrites a model of timm for inference: timm's own reparameterization, then batch norms into convolutions."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, Sequence

import torch
from torch import Tensor, nn

from ..batch_norm import BatchNorm2d, fold_batch_norm, make_plain, outside_inference_mode
from .adapt import timm_layers
from .plan import maps_of


def fuse_model(net: nn.Module, image_shape: Sequence[int]) -> None:
    """Merge branches and fold batch norms in place where the outputs in eval mode stay the same.

    Args:
        net: a features-only model of timm.
        image_shape: `(B, C, H, W)` of an image that the model accepts.
    """
    training = net.training
    net.eval()
    with outside_inference_mode():
        reparameterize(net)
        for module in list(net.modules()):
            make_plain(module)
    modules: dict[str, Any] = dict(net.named_modules())
    for conv_name, norm_name in foldable_pairs(net, image_shape):
        conv, norm = modules[conv_name], modules[norm_name]
        fold_batch_norm(conv, norm)
        replace(net, norm, activation_of(norm))
    net.train(training)


def count_norms(net: nn.Module) -> int:
    """Return how many batch norms a model has."""
    return sum(isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)) for module in net.modules())


def reparameterize(net: nn.Module) -> None:
    """Run timm's own reparameterization, such as of RepVGG's branches; releases before 0.9 have none."""
    try:
        from timm.utils.model import reparameterize_model
    except ImportError:
        return
    with torch.no_grad():
        reparameterize_model(net, inplace=True)


def foldable_pairs(net: nn.Module, image_shape: Sequence[int]) -> list[tuple[str, str]]:
    """Return the names of each convolution whose output only one batch norm reads, and of that batch norm.

    Names and order do not tell: a norm may come before its convolution, or a skip connection may read between the two.
    So the graph that autograd builds of one forward pass is searched. The pass is that of a copy, because weights that
    were loaded inside `torch.inference_mode()` have no graph, and so that hooks cannot stay on the model.
    """
    with outside_inference_mode(), torch.enable_grad():
        scout = copy.deepcopy(net).float().requires_grad_(True)
        convs: dict[Any, nn.Module] = {}  # by the graph node of their output
        readers: list[tuple[Any, nn.Module]] = []  # the node that each norm reads
        runs: Counter[nn.Module] = Counter()

        def after_conv(module: nn.Module, _: Any, output: Tensor) -> None:
            runs[module] += 1
            convs[output.grad_fn] = module

        def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            runs[module] += 1
            readers.append((inputs[0].grad_fn, module))

        for original, module in zip(net.modules(), scout.modules()):
            if is_plain_conv(original):
                module.register_forward_hook(after_conv)
            elif is_plain_norm(original):
                module.register_forward_pre_hook(before_norm)
        image = torch.zeros(*image_shape, device=next(scout.parameters()).device)
        image.requires_grad_(True)  # frozen weights alone build no graph
        times_read = count_readers(maps_of(scout, image))
    names = {module: name for name, module in scout.named_modules()}
    return [
        (names[convs[node]], names[norm])
        for node, norm in readers
        if node in convs and times_read[node] == 1 and runs[norm] == 1 and runs[convs[node]] == 1
    ]


def count_readers(maps: Sequence[Tensor]) -> Counter[Any]:
    """Return how many nodes of autograd's graph read each node; being a map counts as one more."""
    pending = [feature_map.grad_fn for feature_map in maps if feature_map.grad_fn is not None]
    counted: Counter[Any] = Counter(pending)
    seen = set(pending)
    while pending:
        for source, _ in pending.pop().next_functions:
            if source is not None:
                counted[source] += 1
                if source not in seen:
                    seen.add(source)
                    pending.append(source)
    return counted


def is_plain_conv(module: nn.Module) -> bool:
    """Whether a module is a convolution with its own weight as it is, without hooks."""
    known = (nn.Conv2d, timm_layers().Conv2dSame)
    return type(module) in known and not module._forward_hooks and not module._forward_pre_hooks


def is_plain_norm(module: nn.Module) -> bool:
    """Whether a module is a batch norm with statistics and weights, without hooks, also one with timm's activation."""
    known = (nn.BatchNorm2d, BatchNorm2d, nn.SyncBatchNorm, *norms_with_activation())
    if type(module) not in known or module._forward_hooks or module._forward_pre_hooks:
        return False
    return all(getattr(module, part) is not None for part in ("weight", "bias", "running_mean", "running_var"))


def norms_with_activation() -> tuple[type[nn.Module], ...]:
    """Return timm's batch norms with an activation; the synchronised one exists since 0.6."""
    names = ("BatchNormAct2d", "SyncBatchNormAct")
    return tuple(getattr(timm_layers(), name) for name in names if hasattr(timm_layers(), name))


def activation_of(norm: nn.Module) -> nn.Module:
    """Return what is left of a batch norm once it is folded: the identity, or timm's activation."""
    if type(norm) in norms_with_activation():
        return nn.Sequential(*(part for part in norm.children() if not isinstance(part, nn.Identity)))
    return nn.Identity()


def replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Replace `old` by `new` everywhere in a model."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
