"""The networks that are measured: detectors of YOLOv5 with our backbones, with timm's, and stock ones."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from ..host import COPY, STOCK, detector, import_model_class

OURS = {"M0": "yolov5-efficientvit", "M2": "yolov5-efficientvit-m2", "M5": "yolov5-efficientvit-m5"}


def detectors(variants: list[str]) -> dict[str, nn.Module]:
    """Return detectors by name: YOLOv5's own, ours, and for maps of stride 16, 32 and 64 both ours and timm's.

    timm's networks have no others.
    """
    model_class = import_model_class()
    models = {name: detector(model_class, name) for name in STOCK[: len(variants)]}
    for name in variants:
        models[name] = detector(model_class, OURS[name])
        models[f"{name}, stride 16"] = with_row(model_class, name, f"EfficientViT_{name}, ['', 0, 16]")
        row = f"TimmBackbone, [efficientvit_{name.lower()}, False, [16, 32, 64]]"
        models[f"{name} of timm"] = with_row(model_class, name, row)
    return models


def with_row(model_class: Any, name: str, row: str) -> nn.Module:
    """Return the detector of our yaml for variant `name`, with `row` (a module and its args) as its backbone."""
    path = COPY / "models" / f"{OURS[name]}.yaml"
    text, count = re.subn(rf"EfficientViT_{name}, \[\]", row, path.read_text(encoding="utf-8"))
    assert count == 1, f"{path} has {count} rows of the backbone"
    changed = path.with_name("changed.yaml")
    changed.write_text(text, encoding="utf-8")
    return model_class(str(changed))
