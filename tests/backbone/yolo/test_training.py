"""What the patched train scripts do to the host's optimizer, on optimizers with the groups of each release."""

import pytest
import torch
from torch import nn

from models.backbone import yolo as host
from models.backbone.efficientvit.network import EfficientViT_M0


@pytest.fixture
def lines():
    return []


class Scaled(host.Backbone):
    """A backbone whose parameters have all kinds of names."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.layer_norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.gamma = nn.Parameter(torch.ones(4))
        self.position_table = nn.Parameter(torch.zeros(4, 4))
        self.frozen_token = nn.Parameter(torch.zeros(1, 1, 4), requires_grad=False)


SCALES = {"0.gamma", "0.position_table"}


def detector(backbone):
    return nn.Sequential(backbone, nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4))


def host_optimizer(model, kind=torch.optim.SGD, decay=0.1, takes_all=False):
    """An optimizer with the groups of YOLOv5 up to v6.1, or, if it takes all parameters, of later releases."""
    norms, weights, biases = [], [], []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "weight" and isinstance(module, nn.BatchNorm2d):
                norms.append(parameter)
            elif name == "weight" or (takes_all and name != "bias"):
                weights.append(parameter)
            elif name == "bias":
                biases.append(parameter)
    optimizer = kind(norms, lr=0.1)
    optimizer.add_param_group({"params": weights, "weight_decay": decay})
    optimizer.add_param_group({"params": biases})
    return optimizer


def decays(optimizer, model):
    """Return the weight decay of each parameter in the optimizer's groups, by its name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [
        (names[id(parameter)], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert len(dict(found)) == len(found), "each once"
    return dict(found)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("takes_all", [False, True], ids=["up to v6.1", "later"])
def test_backbones_train_whole_and_weights_of_layers_alone_decay(kind, takes_all, lines):
    model = detector(Scaled())
    optimizer = host_optimizer(model, kind, takes_all=takes_all)
    assert (decays(optimizer, model).keys() >= SCALES) == takes_all
    host.train_whole_backbones(optimizer, model, lines.append)
    found = decays(optimizer, model)
    decaying = {"0.conv.weight", "0.attention.in_proj_weight", "0.attention.out_proj.weight", "1.weight"}
    decaying |= {"0.frozen_token"} if takes_all else set()
    assert {name for name, decay in found.items() if decay == 0.1} == decaying
    assert set(found.values()) == {0.0, 0.1}, "not AdamW's own 0.01"
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} <= found.keys()
    assert ("0.frozen_token" in found) == takes_all, "nothing frozen is added"
    assert len(optimizer.param_groups) == 3
    assert len(lines) == 1
    assert lines[0].startswith(f"Scaled: the optimizer takes {0 if takes_all else 4} parameters that YOLOv5 leaves out")


def test_completing_the_optimizer_twice_changes_nothing(lines):
    model = detector(Scaled())
    optimizer = host_optimizer(model)
    host.train_whole_backbones(optimizer, model, lines.append)
    once = decays(optimizer, model)
    host.train_whole_backbones(optimizer, model, lines.append)
    assert decays(optimizer, model) == once
    assert len(lines) == 1


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_a_stock_model_trains_as_before(kind, lines):
    model = detector(nn.Sequential(nn.Conv2d(3, 4, 1), nn.PReLU(), nn.MultiheadAttention(4, 2)))
    optimizer = host_optimizer(model, kind)
    before = decays(optimizer, model)
    host.train_whole_backbones(optimizer, model, lines.append)
    assert decays(optimizer, model) == before
    assert lines == []


def test_efficientvit_has_no_parameter_that_a_release_leaves_out(lines):
    model = detector(EfficientViT_M0())
    optimizer = host_optimizer(model)
    before = decays(optimizer, model)
    host.train_whole_backbones(optimizer, model, lines.append)
    assert decays(optimizer, model) == before
    assert lines == []


def test_a_resumed_run_takes_the_state_of_the_completed_optimizer(lines):
    model, resumed = detector(Scaled()), detector(Scaled())
    optimizer, other = host_optimizer(model), host_optimizer(resumed)
    host.train_whole_backbones(optimizer, model, lines.append)
    with pytest.raises(ValueError, match="doesn't match the size"):
        other.load_state_dict(optimizer.state_dict())
    host.train_whole_backbones(other, resumed, lines.append)
    other.load_state_dict(optimizer.state_dict())
    assert decays(other, resumed) == decays(optimizer, model)


def in_one_group(model):
    return torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.1)


def biases_apart(model):
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    others = [parameter for name, parameter in model.named_parameters() if not name.endswith("bias")]
    return torch.optim.SGD([{"params": others, "weight_decay": 0.1}, {"params": biases}], 0.1)


@pytest.mark.parametrize("groups", [in_one_group, biases_apart])
def test_an_optimizer_of_a_fork_without_a_group_for_batch_norms_stays_and_is_reported(groups, lines):
    model = detector(Scaled())
    optimizer = groups(model)
    before = decays(optimizer, model)
    host.train_whole_backbones(optimizer, model, lines.append)
    assert decays(optimizer, model) == before
    assert [line[:45] for line in lines] == ["WARNING this optimizer keeps batch norms and "]
