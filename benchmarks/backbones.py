"""The backbones beside timm's, on the same weights, geometry and image, and beside the machine's own limit.

`.venv/bin/python -m benchmarks.backbones [M0 M2 ...]` writes results/backbones.json. timm's networks have maps of
stride 16, 32 and 64, so ours are built with `stem_stride=16` there; those of stride 8, 16 and 32 are measured against
the plain form and the machine's fastest matrix product.
"""

from __future__ import annotations

import copy
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import timm
import torch
from timm.utils.model import reparameterize_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.backbone.contract import Backbone
from models.backbone.efficientvit import VARIANTS, EfficientViT
from models.backbone.registry import backbone_class

from .calls import inference, training_step
from .memory import peak_memory
from .plain import plain
from .timing import in_turns, milliseconds, ratio, write_result

IMAGE_SIZE = 640  # pixels
ROUNDS, TRAINING_ROUNDS = 25, 9
TRAINING_BATCH = 4
MATRIX = 2048  # rows and columns of the product that shows the machine's limit


def main() -> None:
    """Measure, print and write as JSON."""
    names = [f"EfficientViT_{name}" for name in sys.argv[1:]] or list(VARIANTS)
    rows = []
    for name in names:
        row = {"backbone": name, **against_timm(name), **against_limit(name)}
        print(row, flush=True)
        rows.append(row)
    write_result(
        "backbones", rows, timm=timm.__version__, image_size=IMAGE_SIZE, rounds=ROUNDS, training_batch=TRAINING_BATCH
    )


def twins(name: str) -> tuple[nn.Module, Backbone]:
    """Return timm's network and ours with its weights, both with windows of 7x7, in eval mode."""
    theirs = timm.create_model(name.lower(), img_size=IMAGE_SIZE, features_only=True)
    flat = theirs.state_dict().items()  # its names are joined by underscores
    state = {re.sub("^(patch_embed|stages)_", r"\1.", key): value for key, value in flat}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.pth")
        torch.save(state, path)
        ours = backbone_class(name)(weights=str(path), stem_stride=16)
    return theirs.eval(), ours.eval()


def against_timm(name: str) -> dict[str, Any]:
    """Return timings and memory of inference and of a training step."""
    theirs, ours = twins(name)
    image = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    forms = {
        "timm": theirs,
        "timm fused": reparameterize_model(theirs),
        "eval": ours,
        "fused": copy.deepcopy(ours).fuse(),
    }
    with torch.no_grad():
        expected = theirs(image)
        for form in forms.values():
            for found, wanted in zip(form(image), expected):
                error = (found - wanted).abs().max() / wanted.abs().max()
                assert error < 1e-5, error
        seconds = in_turns({form: inference(module, image) for form, module in forms.items()}, ROUNDS)

    batch = torch.rand(TRAINING_BATCH, 3, IMAGE_SIZE, IMAGE_SIZE)
    steps = {"timm": training_step(theirs.train(), batch), "ours": training_step(ours.train(), batch)}
    trained = in_turns(steps, TRAINING_ROUNDS, warm_up=1)
    return {
        "ms": {form: milliseconds(taken) for form, taken in seconds.items()},
        "fused against timm": ratio(seconds, "timm", "fused"),
        "fused against timm fused": ratio(seconds, "timm fused", "fused"),
        "training ms": {form: milliseconds(taken) for form, taken in trained.items()},
        "training against timm": ratio(trained, "timm", "ours"),
        "training MiB": {form: peak_memory(step) for form, step in steps.items()},
    }


def against_limit(name: str) -> dict[str, Any]:
    """Return how far the fused detector geometry is from the plain form and from the machine's matrix products."""
    backbone = backbone_class(name)().eval()
    assert isinstance(backbone, EfficientViT)
    fused = copy.deepcopy(backbone).fuse()
    image, matrix = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE), torch.rand(MATRIX, MATRIX)
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            backbone(image)
        candidates = {
            "plain": lambda: plain(backbone, image),
            "fused": inference(fused, image),
            "matrix product": lambda: matrix @ matrix,
        }
        seconds = in_turns(candidates, ROUNDS)
    work, product = counter.get_total_flops(), 2 * MATRIX**3
    rates = {"fused": work / milliseconds(seconds["fused"]), "limit": product / milliseconds(seconds["matrix product"])}
    return {
        "stride 8 ms": {form: milliseconds(taken) for form, taken in seconds.items() if form != "matrix product"},
        "stride 8 gflops": round(work / 1e9, 3),
        "fused against plain": ratio(seconds, "plain", "fused"),
        "share of the limit": round(rates["fused"] / rates["limit"], 3),
        "limit gflops per second": round(rates["limit"] / 1e6, 1),
    }


if __name__ == "__main__":
    main()
