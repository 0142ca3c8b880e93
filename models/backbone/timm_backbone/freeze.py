"""Which parts of a model of timm stay frozen: all that its first maps depend on."""

from __future__ import annotations

from typing import Iterator, Sequence

import torch
from torch import nn

from ..frozen import FrozenParameter, freeze_own_parameters
from .plan import Plan, levels_of, maps_of, scout_of


def frozen_names(name: str, plan: Plan, frozen_stages: int) -> frozenset[str]:
    """Return the names of the parameters to freeze in a features-only model.

    They are those that maps depend on, by the graph that autograd builds: the finest wanted map for 2 stages, also the
    next for 3, and so on; for 1, the stem, timm's last map that is finer than these. A model without such a map has its
    first layers as the stem.

    Args:
        name: what `timm.create_model` takes.
        plan: how the model is built.
        frozen_stages: 0 for none, 1 for the stem, 2 and more also for as many stages less one.
    """
    if not frozen_stages:
        return frozenset()
    if frozen_stages > 1:
        return names_below(name, plan, plan.options["out_indices"][: frozen_stages - 1])
    finer = [
        level.number for level in levels_of(scout_of(name, {"features_only": True})) if level.stride < plan.strides[0]
    ]
    if finer:
        return names_below(name, plan, finer[-1:])
    scout = scout_of(name, plan.options)
    first = next(part for part, module in scout.named_children() if list(module.parameters()))
    return frozenset(key for key, _ in scout.named_parameters() if key.startswith(f"{first}."))


def names_below(name: str, plan: Plan, levels: Sequence[int]) -> frozenset[str]:
    """Return the names of the parameters that maps depend on, given by their numbers in timm."""
    scout = scout_of(name, {**plan.options, "out_indices": tuple(levels)}).train()
    size, device = plan.sizes.smallest, next(scout.parameters()).device
    with torch.enable_grad():
        maps = maps_of(scout, torch.zeros(2, plan.options["in_chans"], size, size, device=device))
        torch.stack([feature_map.sum() for feature_map in maps]).sum().backward()
    return frozenset(key for key, parameter in scout.named_parameters() if parameter.grad is not None)


def freeze_named(net: nn.Module, names: frozenset[str], kind: type[FrozenParameter]) -> None:
    """Freeze the modules that hold these parameters."""
    for prefix, module in net.named_modules():
        start = f"{prefix}." if prefix else ""
        if any(f"{start}{key}" in names for key, _ in module.named_parameters(recurse=False)):
            freeze_own_parameters(module, kind)


def frozen_modules(net: nn.Module, names: frozenset[str]) -> Iterator[nn.Module]:
    """Yield the modules all of whose parameters are frozen; what has none goes with the module that it is in."""
    for prefix, module in net.named_modules():
        keys = [f"{prefix}.{key}" for key, _ in module.named_parameters()]
        if keys and names.issuperset(keys):
            yield module
