"""Detectors exported for runtimes that YOLOv5 does not run itself, and those runtimes."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests import REPOSITORY, TESTS
from tests.compare_maps import largest_error

ROUNDING = 1e-5  # of the image's longer side, and of a score: sums in another order
HALF = 1e-2  # what rounding weights and maps to half precision may cost in a network of random weights


class MissingRuntimeError(Exception):
    """The environment of a runtime has not been set up."""


class Runtime(NamedTuple):
    """A function of run_model.py, the environment it wants, what it runs, and how far it may be from PyTorch."""

    function: str
    environment: str
    made_by: str
    bound: float = ROUNDING


RUNTIMES = {
    "ONNX Runtime": Runtime("onnxruntime", "", "onnx"),
    "OpenVINO": Runtime("openvino", "", "onnx"),
    "NCNN": Runtime("ncnn", "ncnn", "pnnx"),
    "NCNN, half": Runtime("ncnn_half", "ncnn", "pnnx", HALF),
    "MNN": Runtime("mnn", "mnn", "mnnconvert"),
    "OpenCV 4.8": Runtime("opencv", "opencv-4.8", "onnx", 3e-3),  # later versions are as exact as the others
    "OpenCV 4.10": Runtime("opencv", "opencv-4.10", "onnx"),
    "OpenCV 5": Runtime("opencv", "opencv-5", "onnx"),
    "Paddle": Runtime("paddle", "paddle", "paddle"),
    "ExecuTorch": Runtime("executorch", "executorch", "executorch"),
}
SIMULATORS = {"RKNN": Runtime("rknn", "rknn", "onnx", HALF)}  # how long they take says nothing about a board


def program(environment: str, name: str = "python") -> Path:
    """Return the path of a program of one of the runtimes' environments; "" is the environment that this runs in.

    Raises:
        MissingRuntimeError: the environment has not been set up.
    """
    if not environment:
        return Path(sys.executable).with_name(name)
    path = REPOSITORY / "build" / "runtimes" / environment / "bin" / name
    if not path.exists():
        raise MissingRuntimeError(f"`make build/runtimes/{environment}/installed` sets up what this wants")
    return path


def run(*command: object, only_stdout: bool = False, **options: Any) -> str:
    """Run a program, which must succeed, and return its output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout if only_stdout else done.stdout + done.stderr


class Detector:
    """A detector as train.py saves it, in one image size, and what is made of it."""

    def __init__(self, host: Any, yaml: Path, size: str, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.size = self.height, self.width = size.split("x")
        self.weights = folder / "detector.pt"
        self.in_host(sys.executable, TESTS / "save_detector.py", host.prefix, yaml, self.weights)
        photograph = host.root / "data" / "images" / "bus.jpg"
        script = TESTS / "runtimes" / "run_pytorch.py"
        self.in_host(sys.executable, script, host.prefix, self.weights, photograph, *self.size, folder)
        self.made = functools.lru_cache(maxsize=None)(self.make)

    def in_host(self, *command: object) -> str:
        return run(*command, cwd=self.host.import_path, env=self.host.environment)

    def export(self, python: object, *options: object) -> None:
        """Run the host's export.py."""
        module, settings = f"{self.host.prefix}export", ["--img-size", *self.size, "--device", "cpu"]
        output = self.in_host(python, "-m", module, "--weights", self.weights, *settings, *options)
        assert "export success" in output, output

    def make(self, how: str) -> Path:
        """Return what run_model.py is to load."""
        onnx = self.folder / "detector.onnx"
        if how == "onnx":
            self.export(sys.executable, "--include", "onnx")
            return onnx
        if how == "mnnconvert":
            converted = self.folder / "detector.mnn"
            command = [program("mnn", "mnnconvert"), "-f", "ONNX", "--modelFile", self.made("onnx")]
            run(*command, "--MNNModel", converted, "--bizCode", "MNN")
            return converted
        if how == "pnnx":
            pnnx = program("ncnn", "pnnx")
            self.export(sys.executable, "--include", "torchscript")
            shape = f"inputshape=[1,3,{self.height},{self.width}]"
            run(pnnx, self.folder / "detector.torchscript", shape, "fp16=0", cwd=self.folder)
            return self.folder / "detector"
        if how == "paddle":
            self.export(program("paddle"), "--include", "paddle")
            return self.folder / "detector_paddle_model"
        assert how == "executorch"
        model, script = self.folder / "detector.pte", REPOSITORY / "examples" / "export_executorch.py"
        self.in_host(program("executorch"), script, self.host.prefix, self.weights, *self.size, model)
        return model

    def errors(self, runtime: Runtime) -> tuple[float, float]:
        """Return the largest error of a box's sides, relative to the image's longer side, and of a score."""
        result = self.folder / "found.npy"
        python, script = program(runtime.environment), TESTS / "runtimes" / "run_model.py"
        run(python, script, runtime.function, self.made(runtime.made_by), self.folder / "image.npy", result)
        found, expected = np.load(result), np.load(self.folder / "result.npy")
        boxes = largest_error([found[..., :4]], [expected[..., :4]], scale=max(map(int, self.size)))
        return boxes, largest_error([found[..., 4:]], [expected[..., 4:]], scale=1)
