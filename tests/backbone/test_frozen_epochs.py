"""What is frozen for the first epochs is trained afterwards, by the optimizer that was built before."""

import copy
import io

import pytest
import torch
from torch import nn

from models.backbone.frozen import FrozenBatchNorm2d
from models.backbone.registry import backbone_class
from models.backbone.yolo import begin_epoch, train_whole_backbones
from tests.backbone.efficientvit.test_network import build

TIMM = "TimmBackbone"


def backbones(name, frozen_stages=2, frozen_epochs=2):
    torch.manual_seed(0)
    if name != TIMM:
        return build(name, frozen_stages=frozen_stages, frozen_epochs=frozen_epochs)
    timm = pytest.importorskip("timm")
    if not timm.is_model("test_resnet"):
        pytest.skip(f"timm {timm.__version__} has no test_resnet")
    backbone = backbone_class(TIMM)(3, "test_resnet", frozen_stages=frozen_stages, frozen_epochs=frozen_epochs)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # no residual branch starts as nothing
    return backbone


@pytest.fixture(params=["EfficientViT_M0", TIMM])
def name(request):
    return request.param


class Training:
    """YOLOv5's: it unfreezes all, builds an optimizer and a moving average, and runs epochs of one step."""

    def __init__(self, backbone):
        self.model = nn.Sequential(backbone)
        for parameter in self.model.parameters():
            parameter.requires_grad = True
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9, weight_decay=0.1)
        self.average = copy.deepcopy(self.model).eval()
        self.log = []

    def epoch(self, number):
        """Train one epoch, and return the names of the tensors that changed."""
        before = copy.deepcopy(self.model.state_dict())
        self.model = begin_epoch(self.model, number, self.log.append)
        self.model.train()
        images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(number))
        sum(feature_map.square().mean() for feature_map in self.model(images)).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        now = self.model.state_dict()
        with torch.no_grad():
            for key, value in self.average.state_dict().items():
                if value.dtype.is_floating_point:
                    value.mul_(0.5).add_(now[key], alpha=0.5)
        return {key for key, value in now.items() if not torch.equal(value, before[key])}


def constants(backbone):
    """The buffers that no training changes."""
    return {f"0.{key}" for key, _ in backbone.named_buffers() if "running" not in key and "num_batches" not in key}


def test_frozen_then_released(name):
    backbone = backbones(name)
    everything = {f"0.{key}" for key in backbone.state_dict()} - constants(backbone)
    frozen = {
        f"0.{prefix}.{key}"
        for prefix, m in backbone.named_modules()
        for key in m.state_dict()
        if m in frozen_of(backbone)
    }
    training = Training(backbone)
    assert frozen
    assert training.epoch(0) == training.epoch(1) == everything - frozen
    assert training.log == []
    assert training.epoch(2) == everything
    assert len(training.log) == 1
    assert "(epoch 2, counted from 0)" in training.log[0]
    assert training.epoch(3) == everything
    assert len(training.log) == 1


def frozen_of(backbone):
    return set(backbone.frozen_modules())


def test_without_stages_all_of_it_is_frozen(name):
    backbone = backbones(name, frozen_stages=0)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    backbone.begin_epoch(2)
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_a_training_that_goes_on_later_is_released_at_once(name):
    training = Training(backbones(name))
    training.epoch(7)
    assert all(parameter.requires_grad for parameter in training.model.parameters())
    assert "(epoch 7, counted from 0)" in training.log[0]


def test_the_moving_average_follows(name):
    training = Training(backbones(name))
    for number in range(4):
        training.epoch(number)
    start = copy.deepcopy(training.average.state_dict())
    training.epoch(4)
    now = training.average.state_dict()
    assert now.keys() == training.model.state_dict().keys()
    assert all(not torch.equal(now[key], start[key]) for key in start if "running_mean" in key)
    assert all(not torch.equal(now[key], start[key]) for key, _ in training.model.named_parameters())


@pytest.mark.parametrize("released", [False, True])
def test_pickles_and_copies_go_on_as_they_were(name, released):
    backbone = backbones(name)
    if released:
        backbone.begin_epoch(2)
    buffer = io.BytesIO()
    torch.save(backbone, buffer)
    buffer.seek(0)
    options = {"weights_only": False} if hasattr(torch, "compile") else {}
    for other in (copy.deepcopy(backbone), torch.load(buffer, **options)):
        assert all(parameter.requires_grad for parameter in other.parameters()) == released
        other.train()
        assert all(module.training for module in other.modules()) == released
        other.begin_epoch(2)
        assert all(parameter.requires_grad for parameter in other.parameters())


def test_released_parameters_are_those_that_were_frozen(name):
    """An optimizer, and who else holds them, need not be told."""
    backbone = backbones(name)
    before = [*map(id, backbone.parameters())]
    backbone.begin_epoch(2)
    backbone.half().float()
    assert [*map(id, backbone.parameters())] == before
    assert {type(parameter) for parameter in backbone.parameters()} == {nn.Parameter}


def test_batch_norms_stay_what_the_host_sorts_parameters_by(name):
    """A frozen one of another class would get the weight decay of convolutions, once it is trained."""
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in backbones(name).modules())


def test_the_optimizer_takes_paused_parameters_that_yolov5_leaves_out():
    timm = pytest.importorskip("timm")
    if not timm.is_model("test_convnext"):
        pytest.skip(f"timm {timm.__version__} has no test_convnext")
    backbone = backbone_class(TIMM)(3, "test_convnext", frozen_epochs=1)
    model = nn.Sequential(backbone, nn.BatchNorm2d(3))
    optimizer = torch.optim.SGD([model[1].weight], 0.1)
    optimizer.add_param_group({"params": [model[1].bias]})
    train_whole_backbones(optimizer, model, print)
    taken = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert {id(parameter) for parameter in backbone.parameters()} <= taken


def test_what_the_host_freezes_stays_frozen(name):
    """`--freeze 1` freezes all of the backbone, after it has unfrozen everything."""
    backbone = backbones(name)
    for value in (True, False):
        for parameter in backbone.parameters():
            parameter.requires_grad = value
    backbone.begin_epoch(2)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_paused_weights_that_an_optimizer_lacks_get_the_decay_of_convolutions():
    """As in forks that give the optimizer only what requires a gradient."""
    model = nn.Sequential(backbones("EfficientViT_M0", 0), nn.Conv2d(192, 8, 1), nn.BatchNorm2d(8))
    optimizer = torch.optim.SGD([model[2].weight, model[2].bias, model[1].bias], 0.1)
    optimizer.add_param_group({"params": [model[1].weight], "weight_decay": 0.5})
    train_whole_backbones(optimizer, model, print)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {decays[id(p)] for n, p in model[0].named_parameters() if n.endswith("conv.weight")} == {0.5}
    assert {decays[id(p)] for n, p in model[0].named_parameters() if not n.endswith("weight")} == {0}


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "5", None])
def test_wrong_numbers_of_epochs(name, wrong):
    with pytest.raises(
        ValueError, match=r"frozen_epochs must be a number of epochs such as 5, or 0 for no limit, not "
    ):
        backbones(name, frozen_epochs=wrong)


def test_a_model_without_backbones_trains_as_before():
    model = nn.Linear(2, 2)
    assert begin_epoch(model, 3, pytest.fail) is model
