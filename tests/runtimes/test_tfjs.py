"""TensorFlow.js: the SavedModel of export.py, converted, and run by Node on the CPU; the result against PyTorch's."""

import shutil
import sys

import numpy as np
import pytest
import torch

from tests import REPOSITORY, TESTS
from tests.box_order import by_cell
from tests.compare_maps import largest_error
from tests.runtimes.exported import ROUNDING, Detector, MissingRuntimeError, program, run

pytestmark = [pytest.mark.exports, pytest.mark.newest_release]

MODULES = REPOSITORY / "build" / "runtimes" / "tfjs" / "node_modules"


@pytest.mark.parametrize("size", ["192x256", "320x320"])
@pytest.mark.parametrize("suffix", ["", "-m2", "-m5"])
def test_tensorflow_js(patched, tmp_path, suffix, size):
    try:
        converter = program("tfjs", "tensorflowjs_converter")
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    node = shutil.which("node")
    if node is None or not MODULES.is_dir():
        pytest.skip("Node.js with npm is wanted; then `make build/runtimes/tfjs/installed` installs TensorFlow.js")
    detector = Detector(patched, patched.root / "models" / f"yolov5-efficientvit{suffix}.yaml", size, tmp_path)
    detector.export(sys.executable, "--include", "saved_model")
    web, image, result = tmp_path / "web", tmp_path / "image.bin", tmp_path / "result.bin"
    run(converter, "--input_format=tf_saved_model", tmp_path / "detector_saved_model", web)
    np.load(tmp_path / "image.npy").transpose(0, 2, 3, 1).astype(np.float32).tofile(image)
    command = [node, TESTS / "runtimes" / "run_tfjs.js", web, image, *detector.size, result]
    run(*command, env={"NODE_PATH": str(MODULES)})

    height, width = map(int, detector.size)
    expected = by_cell(torch.from_numpy(np.load(tmp_path / "result.npy")), [8, 16, 32], height, width).numpy()
    expected[..., :4] /= np.array([width, height, width, height])  # YOLOv5's Keras networks give shares of the image
    found = np.fromfile(result, np.float32).reshape(expected.shape)
    assert largest_error([found], [expected], scale=1) < ROUNDING
