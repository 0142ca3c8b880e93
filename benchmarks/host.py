"""The YOLOv5 that detectors are measured in: a patched copy of the release that `make` unpacks."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

import apply_patch
from demo.host import Host

RELEASE = Path("build/hosts/7.0.14/yolov5")
COPY = Path("build/benchmarks/yolov5")
OURS = [f"yolov5-efficientvit{suffix}" for suffix in ("", "-m1", "-m2", "-m3", "-m4", "-m5")]
STOCK = ["yolov5n", "yolov5s", "yolov5m"]


def patched_host(copy: Path = COPY, checkout: Path | None = None) -> Host:
    """Return a fresh patched copy of a checkout, by default of `RELEASE`, with its settings beside it."""
    if checkout is None:
        checkout = RELEASE
        if not checkout.is_dir():
            raise SystemExit(f"{checkout} is not there yet; run `make {checkout.parent}/unpacked` first")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "runs", "__pycache__"))
    with contextlib.redirect_stderr(io.StringIO()):
        assert apply_patch.main([str(copy)]) == 0
    return Host(copy, copy.parent / "config")


def import_model_class() -> Any:
    """Import a patched YOLOv5 into this process, without its log, and return its class `Model`."""
    host = patched_host()
    os.environ.update(host.environment)
    sys.path.insert(0, str(host.import_path))
    logging.disable(logging.INFO)
    return import_module(f"{host.prefix}models.yolo").Model


def detector(model_class: Any, name: str) -> nn.Module:
    """Return the model of the yaml `name`."""
    return model_class(str(COPY / "models" / f"{name}.yaml"))
