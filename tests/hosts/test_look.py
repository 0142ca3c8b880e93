"""What `look` draws of detectors of real YOLOv5; its letterbox and its forward pass are the reference."""

import json

import pytest

from tests import TESTS


@pytest.fixture(scope="session")
def seen(patched, tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    done = patched.python(TESTS / "look_probe.py", patched.prefix, patched.root, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "result.json").read_text())


def test_detectors_and_photographs_of_real_yolov5(seen):
    assert set(seen["letterboxes"]) == {0}, "every pixel is that of detect.py"
    code, printed, drawn = seen["half"]
    assert (code, drawn) == (0, True), printed
    assert printed.endswith("half.png: the maps of EfficientViT_M0, and the attention of pixel 100, 60\n")
    for kind in {"fused", "segmentation"} & seen.keys():
        code, printed, drawn = seen[kind]
        assert (code, drawn) == (0, True), printed
        assert ", the strongest cell of the map of stride 32\n" in printed
    assert seen["maps"] == 0


def test_a_stock_detector_is_refused(seen):
    code, printed, drawn = seen["stock"]
    assert (code, drawn) == (2, False), printed
    assert "stock.pt has no backbone of this project in it" in printed
    assert printed.count("\n") == 1
