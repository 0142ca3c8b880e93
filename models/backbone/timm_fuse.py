"""Rewrite a model of timm for inference: timm's own merging of branches, then batch norms into convolutions."""

from __future__ import annotations

from collections import Counter
from typing import Any, Sequence

import torch
from torch import Tensor, nn

from .layers import BatchNorm2d, fold_batch_norm
from .timm_adapt import timm_layers
from .timm_plan import maps_of


def fuse_model(net: nn.Module, image_shape: Sequence[int]) -> None:
    """Merge and fold in place what gives the same outputs in eval mode; leave the rest as it is.

    Args:
        net: a features-only model of timm.
        image_shape: `(B, C, H, W)` of an image that it takes.
    """
    training = net.training
    net.eval()
    reparameterize(net)
    for conv, norm in foldable_pairs(net, image_shape):
        if conv.bias is not None:
            assert norm.running_mean is not None
            norm.running_mean = norm.running_mean - conv.bias.detach()  # norm(x + bias) is this norm of x
        fold_batch_norm(conv, norm)
        replace(net, norm, what_remains(norm))
    net.train(training)


def reparameterize(net: nn.Module) -> None:
    """Run timm's own merging, such as of RepVGG's branches; releases before 0.9 have none."""
    try:
        from timm.utils.model import reparameterize_model
    except ImportError:
        return
    with torch.no_grad():
        reparameterize_model(net, inplace=True)


def foldable_pairs(net: nn.Module, image_shape: Sequence[int]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each convolution with the batch norm that alone reads its output.

    Names and order do not tell (a norm may stand before its convolution, or a skip connection read between the two), so
    one image is run, and the graph that autograd builds of it is searched for who reads what.
    """
    convs: dict[Any, nn.Conv2d] = {}  # by the graph's node of their output
    readers: list[tuple[Any, nn.BatchNorm2d]] = []  # which node a norm reads
    runs: Counter[nn.Module] = Counter()
    handles = []

    def after_conv(module: nn.Conv2d, _: Any, output: Tensor) -> None:
        runs[module] += 1
        convs[output.grad_fn] = module

    def before_norm(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        runs[module] += 1
        readers.append((inputs[0].grad_fn, module))

    for module in net.modules():
        if is_plain_conv(module):
            handles.append(module.register_forward_hook(after_conv))
        elif is_plain_norm(module):
            handles.append(module.register_forward_pre_hook(before_norm))
    parameter = next(net.parameters())
    image = torch.zeros(*image_shape, device=parameter.device, dtype=parameter.dtype, requires_grad=True)
    with torch.enable_grad():
        times_read = count_readers(maps_of(net, image))
    for handle in handles:
        handle.remove()
    return [
        (convs[node], norm)
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
    return type(module) in known and not module._forward_hooks


def is_plain_norm(module: nn.Module) -> bool:
    """Tell whether the module is a batch norm with fixed statistics and weights, perhaps with timm's activation."""
    known = (nn.BatchNorm2d, BatchNorm2d, timm_layers().BatchNormAct2d)
    if type(module) not in known or module._forward_hooks or module._forward_pre_hooks:
        return False
    return all(getattr(module, part) is not None for part in ("weight", "bias", "running_mean", "running_var"))


def what_remains(norm: nn.BatchNorm2d) -> nn.Module:
    """Return what a batch norm still does once it is folded: nothing, or timm's activation."""
    if type(norm) is timm_layers().BatchNormAct2d:
        return nn.Sequential(*(part for part in norm.children() if not isinstance(part, nn.Identity)))
    return nn.Identity()


def replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` wherever `old` stands in the model."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
