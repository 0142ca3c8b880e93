"""Weights for models of timm: of files in every form that timm's users have, whole or not at all; and of the hub."""

import argparse
import io
import os
import warnings

import pytest
import torch
from torch import nn
from torchvision.transforms.functional import normalize

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of timm's imports
    timm = pytest.importorskip("timm", reason="timm is not installed, and only TimmBackbone rows need it")

from models.backbone.timm_backbone import weights as timm_weights
from tests.backbone.timm_backbone.test_network import SMALL, TimmBackbone, as_the_host_does, images
from tests.compare_maps import largest_error


def trained_state(name=SMALL):
    """The tensors of a whole classifier, as timm saves them."""
    torch.manual_seed(7)
    return timm.create_model(name).state_dict()


def save(state, path):
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


FORMS = {
    "w.safetensors": lambda state: state,
    "w.pth": lambda state: state,
    "w.bin": lambda state: {"model": state},
    "train.pth": lambda state: {
        "state_dict": {},
        "state_dict_ema": {f"module.{key}": value for key, value in state.items()},
        "args": argparse.Namespace(lr=0.1),
    },
}


@pytest.mark.parametrize(("file", "wrap"), FORMS.items(), ids=FORMS)
def test_weights_of_a_file(file, wrap, tmp_path):
    state = trained_state()
    reference = timm.create_model(SMALL, features_only=True, out_indices=(2, 3, 4)).eval()
    reference.load_state_dict({key: state[key] for key in reference.state_dict()})
    model = as_the_host_does(TimmBackbone(3, SMALL, save(wrap(state), tmp_path / file)))
    assert str(tmp_path / file) in model.notes
    image = images(1, (64, 64))
    with torch.no_grad():
        statistics = timm.get_pretrained_cfg(SMALL)
        expected = reference(normalize(image, statistics.mean, statistics.std))
        assert largest_error(model(image), expected) <= 1e-5  # the image is normalised in another way
    buffer = io.BytesIO()
    torch.save(model, buffer)  # must not carry the file's tensors a second time
    assert buffer.tell() < 1.2 * 4 * sum(value.numel() for value in model.state_dict().values()) + 200_000


@pytest.mark.parametrize("in_channels", [1, 6])
def test_weights_for_other_images(in_channels, tmp_path):
    """A grey image gives what the same image in three channels gave."""
    path = save(trained_state(), tmp_path / "w.pth")
    grey = images(1, (64, 64))[:, :1]
    with torch.no_grad():
        maps = TimmBackbone(in_channels, SMALL, path)(grey.expand(-1, in_channels, -1, -1))
        expected = TimmBackbone(3, SMALL, path)(grey.expand(-1, 3, -1, -1))
    assert largest_error(maps, expected) < 1e-5  # the first convolution sums in another order


def without(state, key):
    return {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: trained_state("test_convnext"), f"is not that of {SMALL}: \\d+ of \\d+ tensors are not in it"),
        (
            lambda: without(trained_state(), "layer2.0.bn1.running_var"),
            "1 of .* not in it, among them layer2.0.bn1.run",
        ),
        (lambda: {**trained_state(), "conv1.0.weight": torch.zeros(1, 3, 3, 3)}, f"does not fit {SMALL}: "),
        (lambda: {"epoch": 3}, "holds no tensors by name"),
        (lambda: nn.Linear(1, 1), f"is not that of {SMALL}: "),
    ],
    ids=["another model", "a tensor missing", "another shape", "no tensors", "a whole model"],
)
def test_a_file_that_does_not_fit_is_refused(state, message, tmp_path):
    path = save(state(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message):
        TimmBackbone(3, SMALL, path)


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("trapped",))


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="cannot be read safely"):
        TimmBackbone(3, SMALL, save({"model": Trap()}, tmp_path / "w.pth"))
    assert not (tmp_path / "trapped").exists()


def test_weights_of_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr(timm_weights.timm, "create_model", lambda name, **options: asked.append((name, options)))
    timm_weights.build_model("resnet18.a1_in1k", {"features_only": True}, True)
    assert asked == [("resnet18.a1_in1k", {"features_only": True, "pretrained": True})]


def test_a_hub_out_of_reach_is_reported(monkeypatch):
    def offline(name, **_):
        raise OSError("offline")

    monkeypatch.setattr(timm_weights.timm, "create_model", offline)
    with pytest.raises(
        ValueError, match=r"hub gave no weights for resnet18 \(OSError: offline\); check the network, or"
    ):
        timm_weights.build_model("resnet18", {}, True)
