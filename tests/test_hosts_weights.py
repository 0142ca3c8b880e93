"""Real YOLOv5, patched: what becomes of loaded weights and of the parameters in its hands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with a data.yaml; no release looks into the images before it has an optimizer."""
    folder = tmp_path_factory.mktemp("weights")
    images = folder / "images"
    images.mkdir()
    (folder / "data.yaml").write_text(f"train: {images}\nval: {images}\nnc: 1\nnames: ['shape']\n")
    return folder


@pytest.fixture(scope="session")
def seen(patched, folder):
    script = Path(__file__).parent / "weights_probe.py"
    command = [sys.executable, str(script), patched.prefix, str(patched.root), str(folder)]
    done = subprocess.run(command, cwd=patched.import_path, env=patched.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "result.json").read_text())


def test_every_parameter_reaches_the_optimizer_once(seen):
    assert len(seen["decays"]) == 350
    assert [name for name, decays in seen["decays"].items() if len(decays) != 1] == []


def test_attention_biases_have_no_weight_decay(seen):
    biases = {name: decays for name, decays in seen["decays"].items() if name.endswith("attention.bias")}
    assert list(biases.values()) == [[0]] * 6
    assert {max(decays) > 0 for name, decays in seen["decays"].items() if name.endswith("conv.weight")} == {True}
