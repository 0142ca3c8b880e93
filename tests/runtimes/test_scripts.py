"""What the scripts of exports say where a package, the checkout or an argument lacks; no runtime is needed for that."""

import subprocess
import sys

import pytest

from tests import REPOSITORY

EXECUTORCH = ["export_executorch.py", "", "best.pt", "640", "640", "best.pte"]
RKNN = ["export_rknn.py", "best.onnx", "rk3588", "best.rknn", "photo.jpg"]


@pytest.fixture
def said(tmp_path):
    """Runs a script, with packages of these names and texts before all others, and returns what it ends with."""

    def run(script, *arguments, **packages):
        for name, text in packages.items():
            (tmp_path / f"{name}.py").write_text(text)
        options = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path)}, "capture_output": True, "text": True}
        done = subprocess.run([sys.executable, str(REPOSITORY / "examples" / script), *arguments], **options)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.stderr

    return run


@pytest.mark.parametrize("script", ["export_executorch.py", "export_rknn.py"])
def test_too_few_arguments(said, script):
    assert f"python {script} " in said(script, "best.pt")


@pytest.mark.parametrize("command", [EXECUTORCH, RKNN])
def test_no_runtime(said, command):
    lacks = "raise ImportError('it lacks')"
    answer = said(*command, executorch=lacks, onnxruntime=lacks)
    assert "it lacks. Run: python -m pip install " in answer


def test_no_checkout(said):
    modules = {"torch": "", "executorch": EXECUTORCH_PACKAGE}
    answer = said(*EXECUTORCH, **modules)
    assert "No module named 'models'. Run this in the folder of the checkout" in answer


EXECUTORCH_PACKAGE = """
import sys, types
for name in ("backends", "backends.xnnpack", "backends.xnnpack.partition", "exir"):
    sys.modules[f"executorch.{name}"] = types.ModuleType(name)
partitioner = sys.modules["executorch.backends.xnnpack.partition.xnnpack_partitioner"] = types.ModuleType("partitioner")
partitioner.XnnpackPartitioner = sys.modules["executorch.exir"].to_edge_transform_and_lower = None
__path__ = []
"""
