"""What is measured: inference and training steps of a module, and its floating-point operations."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def inference(module: nn.Module, images: Tensor) -> Callable[[], Any]:
    """Return a call that runs the module without gradients."""

    def infer() -> Any:
        with torch.no_grad():
            return module(images)

    return infer


def training_step(module: nn.Module, images: Tensor) -> Callable[[], None]:
    """Return a call that computes the gradients of half the outputs' sum of squares, and frees them.

    The incoming gradients then have the outputs' memory layout, as those from a neck's convolutions do.
    """

    def step() -> None:
        outputs = module(images)
        torch.autograd.backward(outputs, [output.detach() for output in outputs])
        module.zero_grad(set_to_none=True)

    return step


def gflops(module: nn.Module, images: Tensor) -> float:
    """Return the floating-point operations of one inference, in units of 1e9; a multiply-add counts as two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images)
    return counter.get_total_flops() / 1e9
