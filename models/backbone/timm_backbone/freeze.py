"""Which parameters of a model of timm are frozen: those that its first maps depend on."""

from __future__ import annotations

from typing import Iterator, Sequence

import torch
from torch import nn

from ..frozen import FrozenParameter, freeze_own_parameters
from .plan import Plan, build_scout, levels_of, maps_of


def frozen_names(name: str, plan: Plan, frozen_stages: int) -> frozenset[str]:
    """Return the names of the parameters to freeze in a features-only model.

    Autograd's graph tells which parameters a map depends on. 2 stages freeze those of the finest wanted map, 3 also
    those of the next, and so on. 1 freezes the stem: the parameters of the coarsest map of timm that is finer than the
    wanted ones, or without such a map the first child module with parameters.

    Args:
        name: what `timm.create_model` takes.
        plan: of the model.
        frozen_stages: 0 for none, 1 for the stem, n for the stem and n - 1 stages.
    """
    if not frozen_stages:
        return frozenset()
    if frozen_stages > 1:
        return names_below(name, plan, plan.options["out_indices"][: frozen_stages - 1])
    finer = [
        level.number
        for level in levels_of(build_scout(name, {"features_only": True}))
        if level.stride < plan.strides[0]
    ]
    if finer:
        return names_below(name, plan, finer[-1:])
    scout = build_scout(name, plan.options)
    first = next(part for part, module in scout.named_children() if list(module.parameters()))
    return frozenset(key for key, _ in scout.named_parameters() if key.startswith(f"{first}."))


def names_below(name: str, plan: Plan, levels: Sequence[int]) -> frozenset[str]:
    """Return the names of the parameters that the maps of some levels depend on; levels are timm's numbers."""
    scout = build_scout(name, {**plan.options, "out_indices": tuple(levels)}).train()
    size, device = plan.sizes.smallest, next(scout.parameters()).device
    with torch.enable_grad():
        maps = maps_of(scout, torch.zeros(2, plan.options["in_chans"], size, size, device=device))
        torch.stack([feature_map.sum() for feature_map in maps]).sum().backward()
    return frozenset(key for key, parameter in scout.named_parameters() if parameter.grad is not None)


def freeze_named(net: nn.Module, names: frozenset[str], kind: type[FrozenParameter]) -> None:
    """Freeze all parameters of the modules that hold one of the names."""
    for prefix, module in net.named_modules():
        start = f"{prefix}." if prefix else ""
        if any(f"{start}{key}" in names for key, _ in module.named_parameters(recurse=False)):
            freeze_own_parameters(module, kind)


def frozen_modules(net: nn.Module, names: frozenset[str]) -> Iterator[nn.Module]:
    """Yield the modules with parameters, all of which are frozen."""
    for prefix, module in net.named_modules():
        keys = [f"{prefix}.{key}" for key, _ in module.named_parameters()]
        if keys and names.issuperset(keys):
            yield module
