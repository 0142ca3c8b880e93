"""What int8 costs a trained detector: mAP and latency of each runtime in float32 and in int8.

    .venv-export/bin/python -m benchmarks.int8 --data FOLDER path/to/best.pt ...

`make test-exports` makes that environment; `benchmarks.photographs` trains the detectors and says what FOLDER is.
Writes results/int8.json. Scores are those of YOLOv5's own val.py, on square images. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from demo.host import Host
from examples import quantize
from tests.runtimes import run_model

from .host import patched_host
from .photographs.dataset import check_dataset
from .timing import in_turns, milliseconds, ratio, write_result

FOLDER = Path("build/benchmarks/int8")
ROUNDS = 15

Array = NDArray[np.float32]
Run = Callable[[Array], Array]  # (1, 3, size, size) from 0 to 1 -> (1, cells, 5 + classes)


def main() -> None:
    """Export, quantise, score and time each detector."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.int8", description=__doc__)
    parser.add_argument("weights", nargs="+", type=Path, help="trained detectors, .pt files")
    parser.add_argument("--data", type=Path, required=True, help="folder with a data.yaml, in YOLO format")
    parser.add_argument("--image-size", type=int, default=320, help="pixels (default: 320)")
    options = parser.parse_args()
    data, size = check_dataset(options.data), options.image_size
    shutil.rmtree(FOLDER, ignore_errors=True)
    host = patched_host(FOLDER / "yolov5")
    (FOLDER / "data.yaml").write_text(yaml.safe_dump(data))
    os.environ.update(host.environment)
    sys.path.insert(0, str(host.import_path))
    torch.set_num_threads(run_model.THREADS)
    scores_of = Validation(host, data, size)
    rows = []
    for number, weights in enumerate(options.weights):
        model = (FOLDER / f"detector{number}.pt").resolve()
        shutil.copyfile(weights, model)
        runs = runs_of(host, model, data, size)
        image = scores_of.image()
        seconds = in_turns({name: partial(run, image) for name, run in runs.items()}, ROUNDS)
        for name, run in runs.items():
            row = {"detector": weights.resolve().parents[1].name, "runtime": name, **scores_of(run)}
            row["ms"] = milliseconds(seconds[name])
            if "int8" in name:
                row["against float"] = ratio(seconds, f"{name.partition(',')[0]}, float32", name)
            print(row, flush=True)
            rows.append(row)
            write_result("int8", rows, image_size=size, data=options.data.resolve().name)


def runs_of(host: Host, weights: Path, data: dict[str, Any], size: int) -> dict[str, Run]:
    """Export a detector, quantise it, and return a function for each runtime that runs it."""
    common = ["--weights", weights, "--img-size", size, "--device", "cpu", "--data", FOLDER.resolve() / "data.yaml"]
    host.run("export", [*common, "--include", "onnx"])
    host.run("export", [*common, "--include", "tflite"])
    host.run("export", [*common, "--include", "tflite", "--int8"])
    saved = weights.with_name(f"{weights.stem}_saved_model")
    exported = weights.with_suffix(".onnx")
    onnx, openvino = weights.with_name("int8.onnx"), weights.with_name("int8_openvino_model")
    assert quantize.main(["onnxruntime", str(exported), data["train"], str(onnx)]) == 0
    assert quantize.main(["openvino", str(exported), data["train"], str(openvino)]) == 0
    assert quantize.main(["tflite", str(saved), data["train"], str(weights.with_name("int8.tflite"))]) == 0
    return {
        "ONNX Runtime, float32": run_model.onnxruntime(str(exported)),
        "ONNX Runtime, int8": run_model.onnxruntime(str(onnx)),
        "OpenVINO, float32": run_model.openvino(str(exported)),
        "OpenVINO, int8": run_model.openvino(str(openvino / f"{exported.stem}.xml")),
        "TFLite, float32": tflite(weights.with_name(f"{weights.stem}-fp16.tflite")),  # weights in half precision
        "TFLite, int8": tflite(weights.with_name("int8.tflite")),
        "TFLite, export.py --int8": tflite(weights.with_name(f"{weights.stem}-int8.tflite")),
    }


def tflite(model: Path) -> Run:
    """Return a function that runs a TFLite file of YOLOv5, whose boxes are fractions of the image, and gives pixels."""
    from tensorflow import lite

    interpreter = lite.Interpreter(str(model), num_threads=run_model.THREADS)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(image: Array) -> Array:
        image = image.transpose(0, 2, 3, 1)
        if given["dtype"] == np.uint8:
            scale, zero = given["quantization"]
            image = np.round(image / scale + zero).clip(0, 255).astype(np.uint8)
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        result = interpreter.get_tensor(made["index"])
        if made["dtype"] == np.uint8:
            scale, zero = made["quantization"]
            result = (result.astype(np.float32) - zero) * scale
        height, width = image.shape[1:3]
        return result * np.array([width, height, width, height] + [1] * (result.shape[-1] - 4), np.float32)

    return run


class Validation:
    """Computes the scores of a runtime by YOLOv5's own val.py.

    Args:
        host: a YOLOv5 that can be imported.
        data: see `check_dataset`.
        size: of the images, in pixels.
    """

    def __init__(self, host: Host, data: dict[str, Any], size: int) -> None:
        self.data, self.size = data, size
        self.val = import_module(f"{host.prefix}val")
        loaders = import_module(f"{host.prefix}utils.dataloaders")
        self.images = loaders.create_dataloader(data["val"], size, 1, 32, pad=0.5, rect=False, workers=0)[0]

    def image(self) -> Array:
        """Return the first image, (1, 3, size, size) from 0 to 1."""
        return np.ascontiguousarray(next(iter(self.images))[0].numpy(), np.float32) / np.float32(255)

    def __call__(self, run: Run) -> dict[str, float]:
        """Return mAP50 and mAP50-95."""
        model = Runtime(run, self.data["names"])
        _, _, map50, map50_95, *_ = self.val.run(
            self.data,
            model=model,
            dataloader=self.images,
            batch_size=1,
            imgsz=self.size,
            half=False,
            plots=False,
            save_dir=FOLDER,  # the pip package writes a page of scores there
        )[0]
        return {"mAP50": round(float(map50), 4), "mAP50-95": round(float(map50_95), 4)}


class Runtime(nn.Module):
    """A detector for val.py that runs in another runtime."""

    def __init__(self, run: Run, names: list[str]) -> None:
        super().__init__()
        self.run, self.names = run, names
        self.device = nn.Parameter(torch.empty(0))  # val.py takes the device from the first parameter

    def forward(self, image: torch.Tensor, augment: bool = False) -> torch.Tensor:
        """Take (1, 3, size, size), return (1, cells, 5 + classes)."""
        return torch.from_numpy(self.run(image.numpy()))


if __name__ == "__main__":
    main()
