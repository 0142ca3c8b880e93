"""Whole detectors of every release in half and mixed precision, without a GPU."""

import json

import pytest

from tests import TESTS

pytest.importorskip("torch._subclasses.fake_tensor")  # since torch 1.13

LEVELS = [[12, 16], [6, 8], [3, 4]]  # rows and columns of an image of 96x128 px


@pytest.fixture(scope="session")
def seen(patched, tmp_path_factory):
    result = tmp_path_factory.mktemp("precision") / "result.json"
    yaml = patched.root / "models" / "yolov5-efficientvit.yaml"
    hyp = sorted((patched.root / "data").rglob("hyp.scratch*.yaml"))[-1]
    done = patched.python(TESTS / "precision_probe.py", patched.prefix, yaml, hyp, result)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(result.read_text())


@pytest.mark.parametrize("way", ["training", "fused"])
def test_half_precision_on_a_pretended_gpu(seen, way):
    """All is on the GPU and in half precision; nothing asks for a value, for which a GPU would have to wait."""
    assert seen["pretended"][way] == [["cuda", "torch.float16", 2, 3, *level, 85] for level in LEVELS]


def test_mixed_precision_trains(seen):
    """In bfloat16 the loss falls as in float32, and every gradient is finite."""
    full, mixed = seen["losses"]
    assert seen["finite"]
    fall = full[0] - full[-1]
    assert fall > 0.1 * full[0]
    assert abs((mixed[0] - mixed[-1]) - fall) < 0.1 * fall
