"""What train.py does with a checkpoint of a detector that has one of our backbones; on real YOLOv5 in tests/hosts."""

import copy
import re

import pytest
import torch
from torch import nn

from models.backbone.registry import backbone_class
from models.backbone.yolo import fit_backbones, forget_weights
from tests.compare_maps import assert_same

M0 = backbone_class("EfficientViT_M0")
PUBLISHED = (5, 5, 5, 5)  # the query kernels of ImageNet's M0; those of the paper's detectors are 7, 5, 3, 3


def row(name, *args):
    return [-1, 1, name, list(args)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row("EfficientViT_M0", "a.pth", 2), row("EfficientViT_M0", False, 2)),
        (row("EfficientViT_M0", {"weights": "a.pth", "frozen_stages": 2}), None),
        (row("EfficientViT_M0"), row("EfficientViT_M0")),
        (row("EfficientViT_M0", {"frozen_stages": 2}), row("EfficientViT_M0", {"frozen_stages": 2})),
        (row("TimmBackbone", "resnet18", True, [8, 16]), row("TimmBackbone", "resnet18", False, [8, 16])),
        (row("Conv", "a.pth", 6), row("Conv", "a.pth", 6)),
    ],
    ids=["in its place", "by name", "none", "others by name", "of timm", "a row of the host"],
)
def test_no_weights_file_is_asked_for(given, expected):
    if given[2] == "TimmBackbone":
        pytest.importorskip("timm")
    expected = expected or row("EfficientViT_M0", {"weights": False, "frozen_stages": 2})
    kept, yaml = copy.deepcopy(given), {"nc": 3, "backbone": [given], "head": [row("Detect", "nc")]}
    shared = given[3]
    forget_weights(yaml)
    assert yaml == {"nc": 3, "backbone": [expected], "head": [row("Detect", "nc")]}
    assert shared == kept[3], "a list that others may hold too stays as it is"


@pytest.mark.parametrize("yaml", [None, "model.yaml", {}, {"backbone": None}, {"backbone": [None, [1], [1, 2, 3, 4]]}])
def test_what_is_no_yaml_of_a_model_is_left_alone(yaml):
    kept = copy.deepcopy(yaml)
    forget_weights(yaml)
    assert yaml == kept


def fitted(backbone, state):
    """What is logged when a checkpoint's tensors are taken over, and which of them would be loaded."""
    lines, model = [], nn.Sequential(backbone, nn.Conv2d(1, 1, 1))
    fit_backbones(model, {f"0.{name}": value for name, value in state.items()}, lines.append)
    own = backbone.state_dict()
    return lines, {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}


def test_query_kernels_follow_the_checkpoint():
    state = M0(query_kernels=PUBLISHED).state_dict()
    backbone = M0(frozen_stages=2)
    lines, loaded = fitted(backbone, state)
    assert lines == ["EfficientViT_M0: query kernels 5, 5, 5, 5 as in the checkpoint"]
    backbone.load_state_dict(loaded)
    assert_same(backbone.state_dict(), state)
    assert not any(p.requires_grad for part in backbone.frozen_modules() for p in part.parameters())


def test_nothing_is_said_of_a_checkpoint_that_fits():
    assert fitted(M0(), M0().state_dict())[0] == []


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            lambda: M0(in_channels=6).state_dict(),
            r"3 of 688 .*3 of another shape: .*stem.conv1.conv.weight \(8, 6, 3, 3\)",
        ),
        (
            lambda: backbone_class("EfficientViT_M1")().state_dict(),
            r"379 of 688 tensors do not come from the checkpoint",
        ),
        (lambda: {"conv.weight": torch.zeros(1)}, r"688 of 688 .*688 missing: "),
    ],
    ids=["another number of channels", "another variant", "another network"],
)
def test_what_is_left_out_is_said_in_one_line(state, message):
    (line,) = (line for line in fitted(M0(), state())[0] if "WARNING" in line)
    assert line.startswith("WARNING EfficientViT_M0: ")
    assert re.search(message, line)
    assert "\n" not in line
