"""examples/quantize.py: what each runtime makes of a detector in int8, against PyTorch's result in float32."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from demo.dataset import write_dataset
from tests import REPOSITORY
from tests.box_order import by_cell
from tests.runtimes.exported import Detector, run

pytestmark = [pytest.mark.exports, pytest.mark.newest_release]

SCRIPT = REPOSITORY / "examples" / "quantize.py"
HEIGHT, WIDTH = 192, 256


@pytest.fixture(scope="module")
def detector(patched, tmp_path_factory):
    yaml = patched.root / "models" / "yolov5-efficientvit.yaml"
    return Detector(patched, yaml, f"{HEIGHT}x{WIDTH}", tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def images(detector, tmp_path_factory):
    """Photographs to calibrate with: that which the detectors are compared on, and drawn ones."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "bus.jpg").write_bytes((detector.host.root / "data" / "images" / "bus.jpg").read_bytes())
    write_dataset(folder, 192, {"train": 7})
    return folder


def onnxruntime(model):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return lambda image: session.run(["output0"], {"images": image})[0]


def openvino(model):
    import openvino

    network = openvino.Core().compile_model(next(model.glob("*.xml")), "CPU")
    return lambda image: network([image])["output0"]


def tflite(model):
    from tensorflow import lite

    interpreter = lite.Interpreter(str(model))
    interpreter.allocate_tensors()

    def predict(image):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.transpose(0, 2, 3, 1))
        interpreter.invoke()
        shares = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        return shares * np.array([WIDTH, HEIGHT, WIDTH, HEIGHT] + [1] * (shares.shape[2] - 4))

    return predict


RUNTIMES = {
    "onnxruntime": (onnxruntime, "onnx", "detector.onnx", "int8.onnx"),
    "openvino": (openvino, "onnx", "detector.onnx", "int8_openvino_model"),
    "tflite": (tflite, "saved_model", "detector_saved_model", "int8.tflite"),
}


@pytest.mark.filterwarnings("default")  # TensorFlow's Interpreter will move to another package
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_boxes_and_scores_survive(detector, images, runtime):
    load, exported, model, made = RUNTIMES[runtime]
    detector.export(sys.executable, "--include", exported)
    quantized = detector.folder / made
    printed = run(sys.executable, SCRIPT, runtime, detector.folder / model, images, quantized)
    assert f"{quantized}: int8, calibrated with 8 images" in printed

    found = load(quantized)(np.load(detector.folder / "image.npy"))
    expected = np.load(detector.folder / "result.npy")
    if runtime == "tflite":
        expected = by_cell(torch.from_numpy(expected), [8, 16, 32], HEIGHT, WIDTH).numpy()
    check(found, expected)


def check(found, expected):
    assert found.shape == expected.shape
    assert not np.array_equal(found, expected)
    assert np.abs(found[..., :4] - expected[..., :4]).mean() < 0.01 * WIDTH
    # in one scale with the boxes all scores would be 0, and TensorFlow's own int8 loses widths and heights
    for part in (slice(0, 2), slice(2, 4), slice(4, 5)):  # positions, sizes, objectness
        assert np.corrcoef(found[..., part].ravel(), expected[..., part].ravel())[0, 1] > 0.99
    assert np.abs(found[..., 5:] - expected[..., 5:]).max() < 0.01


def test_openvino_runs_what_is_quantised_without_this_script(detector, images):
    """Such as by export.py --int8 of YOLOv5's master; OpenVINO refused an earlier form of the matrix products."""
    import nncf
    import openvino as runtime

    detector.export(sys.executable, "--include", "onnx")
    image = np.load(detector.folder / "image.npy")
    network = runtime.Core().read_model(detector.folder / "detector.onnx")
    quantized = nncf.quantize(network, nncf.Dataset([image]), preset=nncf.QuantizationPreset.MIXED)
    found = runtime.Core().compile_model(quantized, "CPU")([image])["output0"]
    assert np.abs(found - np.load(detector.folder / "result.npy"))[..., :4].mean() < 0.05 * WIDTH


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["onnxruntime", "none.onnx", "."],
            r"none.onnx is not there; `python export.py --weights best.pt --include onnx`",
        ),
        (["tflite", "none", "."], r"none is not there; `python export.py --weights best.pt --include saved_model`"),
        (["openvino", __file__, "."], ". holds no images"),
        (["tensorrt", __file__, "."], "invalid choice"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, message):
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments, "int8"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "int8").exists()


def test_a_dynamic_model_is_refused(detector, images, tmp_path):
    detector.export(sys.executable, "--include", "onnx", "--dynamic")
    for runtime in ("onnxruntime", "openvino"):
        command = [sys.executable, SCRIPT, runtime, detector.folder / "detector.onnx", images, tmp_path / "int8"]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Export without --dynamic" in done.stderr
    assert not (tmp_path / "int8").exists()
