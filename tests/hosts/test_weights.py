"""Real YOLOv5, patched: what becomes of loaded weights and of the parameters in its hands."""

import json
import re

import pytest

from tests import TESTS

pytest.importorskip("timm")


@pytest.fixture(scope="session")
def folder(patched, tmp_path_factory):
    """A folder with a data.yaml; no release looks into the images before it has an optimizer."""
    folder = tmp_path_factory.mktemp("weights")
    images = folder / "images"
    images.mkdir()
    (folder / "data.yaml").write_text(f"train: {images}\nval: {images}\nnc: 1\nnames: ['shape']\n")
    return folder


@pytest.fixture(scope="session")
def seen(patched, folder):
    script = TESTS / "weights_probe.py"
    done = patched.python(script, patched.prefix, patched.root, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return {**json.loads((folder / "result.json").read_text()), "output": done.stdout + done.stderr}


@pytest.mark.parametrize("variant", ["M0", "M1", "M2", "M3", "M4", "M5"])
def test_features_are_those_of_the_weights_file(seen, variant):
    """timm's, inside the detector, after the host's search for strides and its initialize_weights."""
    assert seen["errors against timm"][variant] < 1e-5  # float32 arithmetic in another order


def test_a_checkpoint_of_training_is_read_whole_and_its_average_preferred(seen):
    assert seen["checkpoint"]["differences"] == []
    assert "resized" not in seen["checkpoint"]["notes"]


def test_frozen_stages_stay_what_they_were_in_training(seen):
    frozen = ("stem.", "stages.0.")
    for which in ("model", "average"):
        assert len(seen["frozen"][which]) > 300
        assert [name for name in seen["frozen"][which] if name.startswith(frozen)] == []


def test_every_parameter_reaches_the_optimizer_once(seen):
    assert len(seen["decays"]) == 350
    assert [name for name, decays in seen["decays"].items() if len(decays) != 1] == []


def test_attention_biases_have_no_weight_decay(seen):
    biases = {name: decays for name, decays in seen["decays"].items() if name.endswith("attention.bias")}
    assert list(biases.values()) == [[0]] * 6
    assert {max(decays) > 0 for name, decays in seen["decays"].items() if name.endswith("conv.weight")} == {True}


@pytest.mark.parametrize("route", ["--weights", "--weights --cfg", "--resume"])
def test_a_checkpoint_is_enough(seen, route):
    """Its backbone began with a weights file that is gone, and has other query kernels than the yaml."""
    transfer = seen["transfers"][route]
    assert transfer["differences"] == []
    assert transfer["weights in the yaml"] in ([], [""], [False])


def test_the_log_tells_what_a_checkpoint_changes_and_lacks(seen):
    assert seen["output"].count("EfficientViT_M0: query kernels 5, 5, 5, 5 as in the checkpoint") == 3
    (line,) = re.findall(r"WARNING EfficientViT_M0: .*", seen["output"])
    assert re.search(
        r"\d+ of 688 tensors do not come from the checkpoint \(.*of another shape: .*name that in the row", line
    )
