"""Parameters that stay frozen in the hands of a host that unfreezes everything."""

from __future__ import annotations

from torch import nn


class FrozenParameter(nn.Parameter):
    """A parameter without gradient whose `requires_grad` cannot be switched on by assignment.

    YOLOv5's train.py sets `requires_grad = True` on every parameter. Freezing them again in `train()` is enough on one
    device, but DistributedDataParallel lists the parameters before, and then waits for gradients that never come.
    Copies of a module keep this class; a saved and loaded one has plain parameters without gradient.
    """

    @property
    def requires_grad(self) -> bool:
        """Always False."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        """Ignore the value, as the host has no other way to be told."""


def freeze(module: nn.Module) -> None:
    """Replace each parameter of `module` and its children by a frozen one, with the same values in the same memory."""
    for child in module.modules():
        for name, parameter in list(child.named_parameters(recurse=False)):
            setattr(child, name, FrozenParameter(parameter.detach(), requires_grad=False))
