"""The networks that are measured: detectors of YOLOv5 with our backbones, with timm's, and stock ones."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from ..host import COPY, STOCK, builder, detector

OURS = {"M0": "yolov5-efficientvit", "M2": "yolov5-efficientvit-m2", "M5": "yolov5-efficientvit-m5"}


def detectors(variants: list[str]) -> dict[str, nn.Module]:
    """Return the detectors by name: stock ones, ours, and ours and timm's of the geometry that timm has.

    timm's networks have maps of stride 16, 32 and 64, so ours are built for these strides too.
    """
    build = builder()
    models = {name: detector(build, name) for name in STOCK[: len(variants)]}
    for name in variants:
        models[f"{name}"] = detector(build, OURS[name])
        models[f"{name}, stride 16"] = with_row(build, name, f"EfficientViT_{name}, ['', 0, 16]")
        row = f"TimmBackbone, [efficientvit_{name.lower()}, False, [16, 32, 64]]"
        models[f"{name} of timm"] = with_row(build, name, row)
    return models


def with_row(build: Any, name: str, row: str) -> nn.Module:
    """Return the detector of our yaml with another backbone in it."""
    path = COPY / "models" / f"{OURS[name]}.yaml"
    text, count = re.subn(rf"EfficientViT_{name}, \[\]", row, path.read_text(encoding="utf-8"))
    assert count == 1, f"{path} has {count} rows of the backbone"
    changed = path.with_name("changed.yaml")
    changed.write_text(text, encoding="utf-8")
    return build(str(changed))
