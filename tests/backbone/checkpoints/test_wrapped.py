"""Weights behind the prefixes and keys of other trainings: the right tensors are taken, and all of them."""

import pytest
import torch

from models.backbone.registry import backbone_class
from tests import golden
from tests.compare_maps import assert_same

M0 = backbone_class("EfficientViT_M0")
SMALL = "test_resnet"
PROJECTION = {"head.mlp.weight": torch.zeros(2, 2), "head.mlp.bias": torch.zeros(2)}


def behind(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def shifted(state):
    """The tensors of another network of the same kind, which must not be taken."""
    return {name: value + 1 if value.is_floating_point() else value for name, value in state.items()}


WRAPPINGS = {  # how a training saves, with another network beside where it does so
    "DataParallel": lambda state: behind("module.", state),
    "torch.compile": lambda state: behind("_orig_mod.", state),
    "compiled and parallel": lambda state: {"state_dict": behind("module._orig_mod.", state)},
    "model_state_dict": lambda state: {"epoch": 3, "model_state_dict": state, "loss": 0.5},
    "net": lambda state: {"net": state, "acc": 90.0},
    "dictionaries in dictionaries": lambda state: {"checkpoint": {"network": {"weights": state}}},
    "MoCo": lambda state: {
        "state_dict": {
            **behind("module.encoder_k.", shifted(state)),
            **behind("module.encoder_q.", state),
            **behind("module.", PROJECTION),
            "module.queue": torch.zeros(2, 4),
        }
    },
    "OpenMMLab": lambda state: {"meta": {}, "state_dict": {**behind("backbone.", state), **PROJECTION}},
    "Lightning": lambda state: {"state_dict": behind("model.backbone.", state), "global_step": 3},
    "DINO": lambda state: {
        "student": {**behind("module.backbone.", shifted(state)), **PROJECTION},
        "teacher": {**behind("backbone.", state), **PROJECTION},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}},
    },
    "EMA beside raw": lambda state: {"model": shifted(state), "model_ema": state},
    "timm's own training": lambda state: {"state_dict": shifted(state), "state_dict_ema": behind("module.", state)},
    "YOLOv5's order": lambda state: {"state_dict": shifted(state), "model": state},
}


@pytest.fixture
def save(tmp_path):
    def save_content(content):
        torch.save(content, tmp_path / "wrapped.pth")
        return str(tmp_path / "wrapped.pth")

    return save_content


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("layout", ["own", "classifier/m0"])
def test_efficientvit(layout, wrap, save):
    state = M0().state_dict() if layout == "own" else golden.checkpoint(layout)
    backbone, expected = M0(weights=save(wrap(state))), M0(weights=save(state))
    assert_same(backbone.state_dict(), expected.state_dict())
    assert len(backbone.notes) < 500, "heads that are left out do not fill the screen"


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_a_model_of_timm(wrap, save):
    timm = pytest.importorskip("timm")
    state = timm.create_model(SMALL).state_dict()
    backbone = backbone_class("TimmBackbone")(3, SMALL, save(wrap(state)))
    found = backbone.net.state_dict()
    assert_same(found, {name: state[name] for name in found})


@pytest.mark.parametrize("prefix", ["module.encoder_q."])
def test_a_file_whose_names_timm_converts(prefix, save):
    """Swin's published files have the downsampling at the end of a stage; timm's model has it at the beginning."""
    timm = pytest.importorskip("timm")
    name = "swin_tiny_patch4_window7_224"
    state = timm.create_model(name).state_dict()
    published = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "layers" and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) - 1)
        published[".".join(parts).replace("head.fc.", "head.")] = value
    assert published.keys() != state.keys()
    backbone = backbone_class("TimmBackbone")(3, name, save({"model": behind(prefix, published)}))
    found = backbone.net.state_dict()
    assert torch.equal(found["layers_1.downsample.reduction.weight"], state["layers.1.downsample.reduction.weight"])


def test_the_log_says_which_was_taken(save):
    state = M0().state_dict()
    notes = M0(weights=save(WRAPPINGS["DINO"](state))).notes
    assert "wrapped.pth (in teacher behind backbone.), left out: 2 of other layers" in notes


def test_of_two_that_fit_alike_none_is_taken(save):
    state = M0().state_dict()
    with pytest.raises(ValueError, match="holds several backbones, behind left., behind right.; save the wanted one"):
        M0(weights=save({**behind("left.", state), **behind("right.", state)}))


def test_what_fits_in_part_is_named(save):
    state = M0().state_dict()
    half = dict(list(state.items())[:300])
    with pytest.raises(
        ValueError, match=r"of its 686 tensors there are \d+ behind a., \d+ in other behind b\.\. Give a c"
    ):
        M0(weights=save({**behind("a.", half), "other": behind("b.", half)}))
