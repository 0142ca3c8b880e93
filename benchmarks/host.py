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


def patched_host(copy: Path = COPY) -> Host:
    """Return a fresh patched copy, with its settings beside it."""
    if not RELEASE.is_dir():
        raise SystemExit(f"{RELEASE} is not there yet; run `make {RELEASE.parent}/unpacked` first")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(RELEASE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with contextlib.redirect_stderr(io.StringIO()):
        assert apply_patch.main([str(copy)]) == 0
    return Host(copy, copy.parent / "config")


def builder() -> Any:
    """Import YOLOv5 here, quietly, and return its class of models."""
    host = patched_host()
    os.environ.update(host.environment)
    sys.path.insert(0, str(host.import_path))
    logging.disable(logging.INFO)
    return import_module(f"{host.prefix}models.yolo").Model


def detector(build: Any, name: str) -> nn.Module:
    """Return the model of one yaml."""
    return build(str(COPY / "models" / f"{name}.yaml"))
