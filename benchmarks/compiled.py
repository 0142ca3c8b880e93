"""The fused backbones under torch.compile, beside timm's under torch.compile, ours in eager mode, and the plain form.

`.venv/bin/python -m benchmarks.compiled [M0 M2 ...]` writes results/compiled.json; it needs a C++ compiler.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

from tests.compare_maps import largest_error

from .backbones import IMAGE_SIZE, detector_backbone, twins
from .calls import inference
from .plain import plain
from .timing import Samples, in_passes, in_turns, milliseconds, ratio, write_result

PASSES = 3  # through all variants
ROUNDS = 15  # in each pass


def main() -> None:
    """Measure, print and write as JSON."""
    names = [f"EfficientViT_{name}" for name in sys.argv[1:] or ["M0", "M2", "M5"]]
    image = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE)

    def measure(name: str) -> Samples:
        torch._dynamo.reset()  # dynamo stops compiling a function after a number of networks
        return {**against_timm(name, image), **against_plain(name, image)}

    samples = in_passes(names, PASSES, measure)
    rows = [summary(name, samples[name]) for name in names]
    for row in rows:
        print(row)
    write_result("compiled", rows, image_size=IMAGE_SIZE, passes=PASSES, rounds=ROUNDS)


def summary(name: str, samples: Samples) -> dict[str, Any]:
    """Return the medians and ratios of one variant."""
    timm_seconds, plain_seconds = samples["timm"], samples["plain"]
    return {
        "backbone": name,
        "ms": {variant: milliseconds(taken) for variant, taken in timm_seconds.items()},
        "compiled against timm compiled": ratio(timm_seconds, "timm compiled", "fused compiled"),
        "compiled against fused": ratio(timm_seconds, "fused", "fused compiled"),
        "stride 8 ms": {variant: milliseconds(taken) for variant, taken in plain_seconds.items()},
        "compiled against plain": ratio(plain_seconds, "plain", "fused compiled"),
        "fused against plain": ratio(plain_seconds, "plain", "fused"),
    }


def against_timm(name: str, image: Tensor) -> Samples:
    """Measure at timm's strides, 16, 32 and 64."""
    theirs, ours = twins(name)
    ours.fuse()
    # torch.compile folds no batch norms by itself, so timm does it first
    variants = {
        "timm compiled": compiled(reparameterize_model(theirs), image),
        "fused": ours,
        "fused compiled": compiled(ours, image),
    }
    calls = {variant: inference(module, image) for variant, module in variants.items()}
    return {"timm": in_turns(calls, ROUNDS)}


def against_plain(name: str, image: Tensor) -> Samples:
    """Measure at a detector's strides, 8, 16 and 32."""
    backbone = detector_backbone(name)
    fused = copy.deepcopy(backbone).fuse()

    def run_plain() -> None:
        with torch.no_grad():
            plain(backbone, image)

    calls = {"fused": inference(fused, image), "fused compiled": inference(compiled(fused, image), image)}
    return {"plain": in_turns({"plain": run_plain, **calls}, ROUNDS)}


@torch.no_grad()
def compiled(network: nn.Module, image: Tensor) -> nn.Module:
    """Return the compiled network, after a check that it computes the same."""
    variant: Any = torch.compile(network)
    assert largest_error(variant(image), network(image)) < 1e-5
    return variant


if __name__ == "__main__":
    main()
