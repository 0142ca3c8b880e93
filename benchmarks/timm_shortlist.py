"""Detectors with some well-known timm backbones: parameters, GFLOPs and latency, beside ours and stock ones.

`.venv/bin/python -m benchmarks.timm_shortlist` writes results/timm_shortlist.json. All weights are random, which
changes neither size nor speed. Each model is called in turns with yolov5s, on one thread, and the processor's time is
taken: what else runs on the machine then hardly counts.
"""

from __future__ import annotations

import time
from typing import Any, Callable

import timm
import torch
from torch import nn

from models.backbone.registry import backbone_class

from .calls import inference
from .detectors import fused_copy
from .host import COPY, detector, import_model_class
from .model_sizes import IMAGE_SIZE, size
from .timing import in_turns, ratio, write_result

REFERENCE = "yolov5s"
OTHERS = ["yolov5-efficientvit", "yolov5-efficientvit-m2", "yolov5n", "yolov5m"]
SHORTLIST = [
    *("mobilenetv3_large_100", "mobilenetv4_conv_small", "mobilenetv4_conv_medium", "starnet_s1", "hgnetv2_b0"),
    *("repvit_m0_9", "repvit_m1_1", "fastvit_t8", "efficientvit_b0", "efficientvit_b1"),
    *("resnet18", "resnet50", "convnext_atto", "convnext_tiny", "swin_tiny_patch4_window7_224"),
]
SMALL = 3_000_000  # parameters; up to here the neck is as narrow as yolov5n's, as for M0
ROUNDS = 5


def main() -> None:
    """Measure, print and write as JSON."""
    torch.set_num_threads(1)
    model_class = import_model_class()
    reference = fused_copy(detector(model_class, REFERENCE))
    images = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    rows: list[dict[str, Any]] = []
    for name in SHORTLIST + OTHERS:
        width = width_of(name) if name in SHORTLIST else None
        model = timm_detector(model_class, name, width) if width else detector(model_class, name)
        row: dict[str, Any] = {"model": name, "width_multiple": width, **size(model)}
        calls = {name: inference(fused_copy(model), images), REFERENCE: inference(reference, images)}
        row[f"time of {REFERENCE}'s"] = ratio(in_turns(calls, ROUNDS, 1, processor_seconds), name, REFERENCE)
        print(row, flush=True)
        rows.append(row)
        write_result("timm_shortlist", rows, image_size=IMAGE_SIZE, rounds=ROUNDS, timm=timm.__version__)


def processor_seconds(call: Callable[[], Any]) -> float:
    """Return how much of the processor's time a call takes."""
    start = time.process_time()
    call()
    return time.process_time() - start


def width_of(name: str) -> float:
    """Return the width_multiple to start with: yolov5n's for a small backbone, otherwise yolov5s's."""
    backbone = backbone_class("TimmBackbone")(3, name, False, [8, 16, 32], IMAGE_SIZE)
    return 0.25 if sum(parameter.numel() for parameter in backbone.parameters()) < SMALL else 0.50


def timm_detector(model_class: Any, name: str, width: float) -> nn.Module:
    """Return the detector of yolov5-timm.yaml with another backbone and neck."""
    text = (COPY / "models" / "yolov5-timm.yaml").read_text(encoding="utf-8")
    text = text.replace("[convnext_tiny, True,", f"[{name}, False,").replace("multiple: 0.50", f"multiple: {width}")
    path = COPY / "models" / f"yolov5-timm-{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return detector(model_class, path.stem)


if __name__ == "__main__":
    main()
