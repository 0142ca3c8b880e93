"""SAHI's sliced prediction, in an environment of its own, against the detector's boxes in each slice.

Left out of plain `pytest`: `make test-exports` sets the environment up, and runs this.
"""

import shutil

import numpy as np
import pytest

from tests import TESTS
from tests.hosts.test_elsewhere import EXAMPLES, FIRST, OURS
from tests.runtimes.exported import MissingRuntimeError, program, run

pytestmark = [pytest.mark.exports, pytest.mark.newest_release]

(EXAMPLE,) = [code for code in EXAMPLES if "sahi" in code]
CONFIDENCE, SLICE = "0.4", "640"  # as in the example


@pytest.fixture(scope="module")
def python():
    try:
        return program("sahi")
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))


def environment(host, real_checkout):
    """Return variables by which the package is found, and beside the stock one what pip has noted of its version."""
    paths = f"{host.import_path}:{real_checkout.parent}"
    return {**host.environment, "PYTHONPATH": paths, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": ""}


@pytest.fixture(scope="module")
def folder(python, patched, tmp_path_factory):
    """A folder with best.pt and photo.jpg."""
    folder = tmp_path_factory.mktemp("sahi")
    shutil.copyfile(patched.root / "data" / "images" / "bus.jpg", folder / "photo.jpg")
    yaml = patched.root / "models" / OURS
    script = [TESTS / "elsewhere_probe.py", patched.prefix, "save", folder / "photo.jpg", yaml, folder / "best.pt"]
    done = patched.python(*script)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def boxes_of(code, python, folder, variables):
    run(python, "-c", f"{FIRST}{code}\nimport numpy\nnumpy.save('boxes.npy', boxes)\n", cwd=folder, env=variables)
    return np.load(folder / "boxes.npy")


def test_slices(python, patched, real_checkout, folder):
    variables = environment(patched, real_checkout)
    merged = boxes_of(EXAMPLE, python, folder, variables)
    options = "slice_width=640, perform_standard_pred=False, postprocess_type='NMS', postprocess_match_threshold=2"
    code = EXAMPLE.replace("slice_width=640", options)
    assert code != EXAMPLE
    kept = boxes_of(code, python, folder, variables)
    script, result = TESTS / "runtimes" / "run_sahi.py", folder / "expected.npy"
    trusted = {**variables, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    run(python, script, folder / "best.pt", folder / "photo.jpg", CONFIDENCE, SLICE, result, cwd=folder, env=trusted)
    expected = np.load(result)
    assert 20 < len(expected) == len(kept)
    assert abs(in_order(kept) - in_order(expected)).max() < 1e-2
    assert 20 < len(merged) < len(kept) + 300


def test_what_it_says_where_the_patch_is_missing(python, stock, real_checkout, folder):
    variables = environment(stock, real_checkout)
    with pytest.raises(AssertionError) as caught:
        boxes_of(EXAMPLE, python, folder, variables)
    last = str(caught.value).rstrip().splitlines()
    error = "TypeError: ('model_path is not a valid yolov5 model path: ', ModuleNotFoundError(\"No module named 'yolov5.models.backbone'\"))"
    assert error in last


def in_order(boxes):
    """Sort boxes by all their numbers, rounded so that float32 and float64 agree."""
    return boxes[np.lexsort(np.round(boxes, 2).T)]
