"""The fused backbones under torch.compile, beside timm's under torch.compile, ours without, and the plain form.

`.venv/bin/python -m benchmarks.compiled [M0 M2 ...]` writes results/compiled.json; it needs a C++ compiler.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import Tensor

from .backbones import IMAGE_SIZE, detector_backbone, twins
from .calls import inference
from .plain import plain
from .timing import in_turns, milliseconds, ratio, write_result

ROUNDS = 25


def main() -> None:
    """Measure, print and write as JSON."""
    image = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    rows = []
    for name in sys.argv[1:] or ["M0", "M2", "M5"]:
        row = {
            "backbone": name,
            **against_timm(f"EfficientViT_{name}", image),
            **against_plain(f"EfficientViT_{name}", image),
        }
        print(row, flush=True)
        rows.append(row)
    write_result("compiled", rows, image_size=IMAGE_SIZE, rounds=ROUNDS)


def against_timm(name: str, image: Tensor) -> dict[str, Any]:
    """Return timings at timm's strides, 16, 32 and 64."""
    theirs, ours = twins(name)
    ours.fuse()
    modules: dict[str, Any] = {
        "fused": ours,
        "timm compiled": torch.compile(theirs),
        "fused compiled": torch.compile(ours),
    }
    check(modules["fused compiled"], ours, image)
    seconds = in_turns({form: inference(module, image) for form, module in modules.items()}, ROUNDS)
    return {
        "ms": {form: milliseconds(taken) for form, taken in seconds.items()},
        "compiled against timm compiled": ratio(seconds, "timm compiled", "fused compiled"),
        "compiled against fused": ratio(seconds, "fused", "fused compiled"),
    }


def against_plain(name: str, image: Tensor) -> dict[str, Any]:
    """Return timings at a detector's strides, 8, 16 and 32."""
    backbone = detector_backbone(name)
    fused = copy.deepcopy(backbone).fuse()
    compiled: Any = torch.compile(fused)
    check(compiled, fused, image)

    def run_plain() -> None:
        with torch.no_grad():
            plain(backbone, image)

    candidates: dict[str, Any] = {
        "plain": run_plain,
        "fused": inference(fused, image),
        "fused compiled": inference(compiled, image),
    }
    seconds = in_turns(candidates, ROUNDS)
    return {
        "stride 8 ms": {form: milliseconds(taken) for form, taken in seconds.items()},
        "compiled against plain": ratio(seconds, "plain", "fused compiled"),
        "fused against plain": ratio(seconds, "plain", "fused"),
    }


@torch.no_grad()
def check(compiled: Any, eager: Any, image: Tensor) -> None:
    """Make sure that the compiled network computes what the other does."""
    for found, wanted in zip(compiled(image), eager(image)):
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


if __name__ == "__main__":
    main()
