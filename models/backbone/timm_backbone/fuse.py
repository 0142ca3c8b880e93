"""Rewrite a model of timm for inference: timm's own merging of branches, then batch norms into convolutions."""

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
    """Merge and fold in place what gives the same outputs in eval mode; leave the rest as it is.

    Args:
        net: a features-only model of timm.
        image_shape: `(B, C, H, W)` of an image that it takes.
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
    """Run timm's own merging, such as of RepVGG's branches; releases before 0.9 have none."""
    try:
        from timm.utils.model import reparameterize_model
    except ImportError:
        return
    with torch.no_grad():
        reparameterize_model(net, inplace=True)


def foldable_pairs(net: nn.Module, image_shape: Sequence[int]) -> list[tuple[str, str]]:
    """Return the names of each convolution and the batch norm that alone reads its output.

    Names and order do not tell (a norm may stand before its convolution, or a skip connection read between the two), so
    one image is run, and the graph that autograd builds of it is searched for who reads what. It is run through a copy:
    what was loaded inside `torch.inference_mode()` has no such graph, and hooks stay on the copy, whatever happens.
    """
    with outside_inference_mode(), torch.enable_grad():
        scout = copy.deepcopy(net).float().requires_grad_(True)
        convs: dict[Any, nn.Module] = {}  # by the graph's node of their output
        readers: list[tuple[Any, nn.Module]] = []  # which node a norm reads
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
        image.requires_grad_(True)  # frozen weights begin no graph
        times_read = count_readers(maps_of(scout, image))
    names = {module: name for name, module in scout.named_modules()}
    return [
        (names[convs[node]], names[norm])
        for node, norm in readers
        if node in convs and times_read[node] == 1 and runs[norm] == 1 and runs[convs[node]] == 1
    ]


def count_readers(maps: Sequence[Tensor]) -> Counter[Any]:
    """Return how many nodes of autograd's graph read each node, the maps' own readers outside included."""
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
    """Tell whether the module convolves with its own weight as it stands, and nothing hangs on to its output."""
    known = (nn.Conv2d, timm_layers().Conv2dSame)
    return type(module) in known and not module._forward_hooks and not module._forward_pre_hooks


def is_plain_norm(module: nn.Module) -> bool:
    """Tell whether the module is a batch norm with fixed statistics and weights, perhaps with timm's activation."""
    known = (nn.BatchNorm2d, BatchNorm2d, nn.SyncBatchNorm, *norms_with_activation())
    if type(module) not in known or module._forward_hooks or module._forward_pre_hooks:
        return False
    return all(getattr(module, part) is not None for part in ("weight", "bias", "running_mean", "running_var"))


def norms_with_activation() -> tuple[type[nn.Module], ...]:
    """Return timm's batch norms that hold the activation behind them; the synchronised one came with 0.6."""
    names = ("BatchNormAct2d", "SyncBatchNormAct")
    return tuple(getattr(timm_layers(), name) for name in names if hasattr(timm_layers(), name))


def activation_of(norm: nn.Module) -> nn.Module:
    """Return what a batch norm still does once it is folded: nothing, or timm's activation."""
    if type(norm) in norms_with_activation():
        return nn.Sequential(*(part for part in norm.children() if not isinstance(part, nn.Identity)))
    return nn.Identity()


def replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` wherever `old` stands in the model."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
