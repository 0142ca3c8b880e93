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
    """Return what computes the gradients of half the outputs' sum of squares, and lets go of them.

    The gradients that come in then lie in memory as the outputs do, which is how a neck's convolutions hand them down.
    """

    def step() -> None:
        outputs = module(images)
        torch.autograd.backward(outputs, [output.detach() for output in outputs])
        module.zero_grad(set_to_none=True)

    return step
