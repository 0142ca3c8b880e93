"""benchmarks.photographs.altered: each change does what its name says, and nothing else."""

import copy

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
import torch
from torch import nn

from benchmarks.photographs.altered import CHANGES, attention_biases, batch_norm_momentum, kaiming, residuals_from_one
from benchmarks.photographs.studies import CAUSES, RECIPES
from models.backbone.registry import backbone_class


@pytest.fixture
def detector():
    """A backbone, and a convolution in the place of the neck, as YOLOv5's model holds its layers."""
    torch.manual_seed(0)
    detector = nn.Module()
    detector.model = nn.Sequential(backbone_class("EfficientViT_M0")(), nn.Conv2d(8, 8, 1, bias=False))
    return detector


def changed(before, after):
    """Return the names of what two models hold in different values."""
    return [name for name, value in after.state_dict().items() if not torch.equal(value, before.state_dict()[name])]


def test_every_cause_is_one_change():
    for name, recipe in CAUSES.items():
        assert len(recipe.changes) + bool(recipe.altered) == 1, name
        assert recipe.optimizer == RECIPES["SGD"].optimizer
    assert {recipe.altered for recipe in CAUSES.values()} - {""} == CHANGES.keys()


def test_residual_branches_from_one(detector):
    before = copy.deepcopy(detector)
    residuals_from_one(detector)
    blocks = [block for stage in detector.model[0].stages for block in stage.blocks]
    assert len(changed(before, detector)) >= 5 * len(blocks)  # each block has five branches
    assert all(name.endswith("bn.weight") for name in changed(before, detector))
    assert all((module.weight == 1).all() for module in detector.modules() if isinstance(module, nn.BatchNorm2d))


def test_momentum_of_batch_norms(detector):
    before = copy.deepcopy(detector)
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.03
    batch_norm_momentum(detector)
    assert {norm.momentum for norm in norms} == {0.1}
    assert changed(before, detector) == []


def test_attention_biases_ten_times_as_fast(detector):
    residuals_from_one(detector)  # or there is no gradient behind them yet
    slow = copy.deepcopy(detector)
    attention_biases(detector)
    images = torch.rand(2, 3, 64, 64)
    for model in (slow, detector):
        sum(feature.square().sum() for feature in model.model[0](images)).backward()
    gradients = {name: parameter.grad for name, parameter in slow.model[0].named_parameters()}
    faster = []
    for name, parameter in detector.model[0].named_parameters():
        if not torch.equal(parameter.grad, gradients[name]):
            torch.testing.assert_close(parameter.grad, 10 * gradients[name])
            faster.append(name)
    blocks = [block for stage in detector.model[0].stages for block in stage.blocks]
    assert len(faster) == len(blocks)
    assert all(name.endswith("attention.bias") for name in faster)


def test_convolutions_as_he_et_al_draw_them(detector):
    before = copy.deepcopy(detector)
    kaiming(detector)
    names = changed(before, detector)
    assert names
    assert all(name.startswith("model.0.") and name.endswith("conv.weight") for name in names)
    conv = detector.model[0].stages[2].blocks[0].feed_forward1.expand.conv
    assert conv.weight.std().item() == pytest.approx((2 / conv.in_channels) ** 0.5, rel=0.05)
