"""YOLOv5's train.py with one thing changed in each model that it builds.

The harness copies this file into its copy of YOLOv5, and runs it there: `python -m altered CHANGE ARGUMENTS`.
"""

from __future__ import annotations

import functools
import runpy
import sys
from importlib import import_module
from typing import Any

from torch import nn


def residuals_from_one(model: nn.Module) -> None:
    """Let residual branches begin at full strength; their last batch norm's weight is 0 otherwise."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.any():
            nn.init.ones_(module.weight)


def batch_norm_momentum(model: nn.Module) -> None:
    """Let statistics of batch norms move as fast as PyTorch has it; YOLOv5 sets 0.03."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1


def attention_biases(model: nn.Module) -> None:
    """Train the attention biases ten times as fast. For SGD a gradient of ten times the size is the same."""
    for name, parameter in model.named_parameters():
        if name.endswith("attention.bias"):
            parameter.register_hook(lambda gradient: 10 * gradient)


def kaiming(model: Any) -> None:
    """Begin the backbone with convolutions as He et al. draw them for ReLU; PyTorch draws them 2.4 times as small."""
    for module in model.model[0].modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


CHANGES = {change.__name__: change for change in (residuals_from_one, batch_norm_momentum, attention_biases, kaiming)}


def main() -> None:
    """Train, with the change that the first argument names."""
    change = CHANGES[sys.argv.pop(1)]
    package = f"{__package__}." if __package__ else ""  # "yolov5." in the pip package
    detector = import_module(f"{package}models.yolo").Model
    build = detector.__init__

    @functools.wraps(build)
    def build_and_change(self: nn.Module, *arguments: Any, **options: Any) -> None:
        build(self, *arguments, **options)
        change(self)
        print(f"altered: {change.__name__}", flush=True)

    detector.__init__ = build_and_change
    runpy.run_module(f"{package}train", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
