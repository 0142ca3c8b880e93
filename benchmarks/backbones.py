"""The backbones beside timm's, with the same weights, geometry and image, and beside the machine's own limit.

`.venv/bin/python -m benchmarks.backbones [M0 M2 ...]` writes results/backbones.json. timm's networks have maps of
stride 16, 32 and 64, so ours are built with `stem_stride=16` there; those of stride 8, 16 and 32 are measured against
the plain form and the machine's fastest matrix product.
"""

from __future__ import annotations

import copy
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import timm
import torch
from timm.utils.model import reparameterize_model
from torch import nn

from models.backbone.contract import Backbone
from models.backbone.efficientvit.network import VARIANTS, EfficientViT
from models.backbone.registry import backbone_class
from tests.compare_maps import largest_error

from .calls import gflops, inference, training_step
from .memory import peak_memory
from .plain import plain
from .timing import Samples, in_passes, in_turns, milliseconds, ratio, write_result

IMAGE_SIZE = 640  # pixels
PASSES = 4  # through all variants
ROUNDS, TRAINING_ROUNDS = 15, 5  # in each pass
TRAINING_BATCH = 4
MATRIX = 2048  # rows and columns of the product that shows the machine's limit


def main() -> None:
    """Measure, print and write as JSON."""
    names = [f"EfficientViT_{name}" for name in sys.argv[1:]] or list(VARIANTS)
    samples = in_passes(names, PASSES, lambda name: {**against_timm(name), **against_limit(name)})
    rows = [summary(name, samples[name]) for name in names]
    for row in rows:
        print(row)
    settings = {"passes": PASSES, "rounds": ROUNDS, "training_batch": TRAINING_BATCH}
    write_result("backbones", rows, timm=timm.__version__, image_size=IMAGE_SIZE, **settings)


def summary(name: str, samples: Samples) -> dict[str, Any]:
    """Return the medians and ratios of one variant."""
    inference_seconds, training_seconds, limit_seconds = (
        samples[what] for what in ("inference", "training", "stride 8")
    )
    work = {
        "fused": gflops(detector_backbone(name), torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE)),
        "matrix product": 2 * MATRIX**3 / 1e9,
    }
    rates = {what: 1000 * operations / milliseconds(limit_seconds[what]) for what, operations in work.items()}
    return {
        "backbone": name,
        "ms": {variant: milliseconds(taken) for variant, taken in inference_seconds.items()},
        "fused against timm": ratio(inference_seconds, "timm", "fused"),
        "fused against timm fused": ratio(inference_seconds, "timm fused", "fused"),
        "training ms": {variant: milliseconds(taken) for variant, taken in training_seconds.items()},
        "training against timm": ratio(training_seconds, "timm", "ours"),
        "training MiB": {variant: round(statistics.median(peaks), 1) for variant, peaks in samples["memory"].items()},
        "stride 8 ms": {variant: milliseconds(limit_seconds[variant]) for variant in ("plain", "fused")},
        "stride 8 gflops": round(work["fused"], 3),
        "fused against plain": ratio(limit_seconds, "plain", "fused"),
        "share of the limit": round(rates["fused"] / rates["matrix product"], 3),
        "limit gflops per second": round(rates["matrix product"], 1),
    }


def twins(name: str, image_size: int = IMAGE_SIZE) -> tuple[nn.Module, Backbone]:
    """Return timm's network and ours with its weights, both with windows of 7x7, in eval mode.

    Neither normalises images: timm leaves that to the data loader.
    """
    theirs = timm.create_model(name.lower(), img_size=image_size, features_only=True)
    return theirs.eval(), with_weights_of(theirs, name)


def with_weights_of(theirs: nn.Module, name: str, normalize: Any = False) -> Backbone:
    """Return our network with the weights of timm's features-only one, for maps of the same strides, in eval mode."""
    flat = theirs.state_dict().items()  # features_only joins the first two parts of a name by an underscore
    state = {re.sub("^(patch_embed|stages)_", r"\1.", key): value for key, value in flat}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.pth")
        torch.save(state, path)
        return backbone_class(name)(weights=str(path), stem_stride=16, normalize=normalize).eval()


def against_timm(name: str) -> Samples:
    """Measure inference, training steps and their memory."""
    theirs, ours = twins(name)
    image = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    variants = {
        "timm": theirs,
        "timm fused": reparameterize_model(theirs),
        "eval": ours,
        "fused": copy.deepcopy(ours).fuse(),
    }
    with torch.no_grad():
        expected = theirs(image)
        for variant in variants.values():
            error = largest_error(variant(image), expected)
            assert error < 1e-5, error
        seconds = in_turns({variant: inference(module, image) for variant, module in variants.items()}, ROUNDS)

    batch = torch.rand(TRAINING_BATCH, 3, IMAGE_SIZE, IMAGE_SIZE)
    steps = {"timm": training_step(theirs.train(), batch), "ours": training_step(ours.train(), batch)}
    trained = in_turns(steps, TRAINING_ROUNDS, warm_up=1)
    peaks = {variant: [peak_memory(step) for _ in range(TRAINING_ROUNDS)] for variant, step in steps.items()}
    return {"inference": seconds, "training": trained, "memory": peaks}


def against_limit(name: str) -> Samples:
    """Measure the fused detector geometry, its plain form, and the machine's matrix product."""
    backbone = detector_backbone(name)
    fused = copy.deepcopy(backbone).fuse()
    image, matrix = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE), torch.rand(MATRIX, MATRIX)
    with torch.no_grad():
        candidates = {
            "plain": lambda: plain(backbone, image),
            "fused": inference(fused, image),
            "matrix product": lambda: matrix @ matrix,
        }
        return {"stride 8": in_turns(candidates, ROUNDS)}


def detector_backbone(name: str) -> EfficientViT:
    """Return the network in eval mode, with maps of stride 8, 16 and 32."""
    backbone = backbone_class(name)().eval()
    assert isinstance(backbone, EfficientViT)
    return backbone


if __name__ == "__main__":
    main()
