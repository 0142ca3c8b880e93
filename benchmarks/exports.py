"""Latency of the exports to ONNX and OpenVINO, beside timm's exported the same way and stock yolov5n and s.

`.venv-export/bin/python -m benchmarks.exports` writes results/exports.json; `make test-exports` makes that environment.
Both runtimes run one ONNX file for each network, written by torch.onnx.export with YOLOv5's options.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any, Callable

import numpy as np
import onnxruntime
import openvino
import torch
from torch import nn

from models.backbone.registry import backbone_class

from .backbones import twins
from .detectors import fused_copy
from .host import detector, import_model_class
from .timing import in_turns, milliseconds, ratio, write_result

IMAGE_SIZE = 640  # pixels
ROUNDS = 15
OPSET = 17
DETECTORS = ["yolov5-efficientvit", "yolov5-efficientvit-m2", "yolov5n", "yolov5s"]
BACKBONES = ["EfficientViT_M0", "EfficientViT_M2", "EfficientViT_M5"]


def main() -> None:
    """Measure, print and write as JSON."""
    networks: dict[str, nn.Module] = {}
    for name in BACKBONES:
        theirs, ours = twins(name)
        networks |= {f"timm {name}": theirs, f"ours {name}": ours.fuse()}
    networks["ours EfficientViT_M0, stride 8"] = backbone_class("EfficientViT_M0")().eval().fuse()
    model_class = import_model_class()
    for name in DETECTORS:
        model: Any = fused_copy(detector(model_class, name))
        model.model[-1].export = True
        networks[name] = model
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: export(network, Path(folder, f"{number}.onnx"))
            for number, (name, network) in enumerate(networks.items())
        }
        image = np.random.default_rng(0).random((1, 3, IMAGE_SIZE, IMAGE_SIZE), np.float32)
        rows = []
        for runtime, load in {"ONNX Runtime": onnx_runtime, "OpenVINO": open_vino}.items():
            seconds = in_turns({name: load(path, image) for name, path in files.items()}, ROUNDS)
            row = {"runtime": runtime, "ms": {name: milliseconds(taken) for name, taken in seconds.items()}}
            row["against timm"] = {name: ratio(seconds, f"timm {name}", f"ours {name}") for name in BACKBONES}
            print(row, flush=True)
            rows.append(row)
    versions = {"onnxruntime": onnxruntime.__version__, "openvino": openvino.__version__}
    write_result("exports", rows, image_size=IMAGE_SIZE, rounds=ROUNDS, **versions)


def export(network: nn.Module, path: Path) -> Path:
    """Write a network as ONNX."""
    image = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        network(image)
        torch.onnx.export(network, (image,), str(path), opset_version=OPSET, dynamo=False)
    return path


def onnx_runtime(path: Path, image: Any) -> Callable[[], Any]:
    """Return a call that infers with ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # otherwise threads of one network would still spin during the turn of the next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: image})


def open_vino(path: Path, image: Any) -> Callable[[], Any]:
    """Return a call that infers with OpenVINO."""
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda: compiled(image)


if __name__ == "__main__":
    main()
