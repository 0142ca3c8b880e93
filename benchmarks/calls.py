"""What is timed: inference and training steps of a module."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor, nn


def inference(module: nn.Module, images: Tensor) -> Callable[[], Any]:
    """Return what runs the module without gradients."""

    def infer() -> Any:
        with torch.no_grad():
            return module(images)

    return infer


def training_step(module: nn.Module, images: Tensor) -> Callable[[], None]:
    """Return what computes the gradients of all outputs' mean squares, and lets go of them."""

    def step() -> None:
        loss = torch.stack([output.float().square().mean() for output in module(images)]).sum()
        loss.backward()
        module.zero_grad(set_to_none=True)

    return step
