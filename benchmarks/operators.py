"""Where the time of M0 goes in inference and in a training step: shares of kinds of operators, at 640 px.

`.venv/bin/python -m benchmarks.operators` writes results/operators.json. "the rest" is other operators, mostly views,
Python between the operators, and the profiler itself.
"""

from __future__ import annotations

import time
from typing import Any, Callable

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from models.backbone.registry import backbone_class

from .calls import inference, training_step
from .timing import write_result

IMAGE_SIZE, TRAINING_BATCH = 640, 4
ROUNDS = 10
KINDS = {
    "convolutions": ("conv",),
    "matrix products": ("mm",),
    "softmax": ("softmax",),
    "batch norms": ("batch_norm",),
    "copies": ("copy_", "cat", "fill_", "pad"),
    "sums, ReLU and gates": ("add", "clamp", "threshold", "mul", "sigmoid", "sum", "mean"),
}


def main() -> None:
    """Measure, print and write as JSON."""
    image = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    batch = torch.rand(TRAINING_BATCH, 3, IMAGE_SIZE, IMAGE_SIZE)
    build = backbone_class("EfficientViT_M0")
    call = inference(build().eval().fuse(), image)
    rows = [
        {"what": "inference, fused", **shares(call), "convolution gflops": convolution_gflops(call)},
        {"what": f"training step of {TRAINING_BATCH} images", **shares(training_step(build().train(), batch))},
    ]
    for row in rows:
        print(row)
    write_result("operators", rows, image_size=IMAGE_SIZE, rounds=ROUNDS)


def shares(call: Callable[[], Any]) -> dict[str, float]:
    """Return a call's time under the profiler, in ms, and the share of each kind of operators in it, in percent."""
    for _ in range(ROUNDS):  # warm up
        call()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        for _ in range(ROUNDS):
            call()
        wall = time.perf_counter() - start
    taken = dict.fromkeys(KINDS, 0.0)
    for event in profiler.key_averages():
        kind = next((kind for kind, marks in KINDS.items() if any(mark in event.key for mark in marks)), None)
        if kind and event.key.startswith("aten::"):
            taken[kind] += event.self_cpu_time_total / 1e6
    found = {kind: round(100 * seconds / wall, 1) for kind, seconds in taken.items()}
    return {**found, "the rest": round(100 - sum(found.values()), 1), "ms": round(1000 * wall / ROUNDS, 2)}


def convolution_gflops(call: Callable[[], Any]) -> float:
    """Return the floating-point operations of the convolutions, in units of 1e9."""
    with FlopCounterMode(display=False) as counter:
        call()
    return round(counter.get_flop_counts()["Global"][torch.ops.aten.convolution] / 1e9, 3)


if __name__ == "__main__":
    main()
