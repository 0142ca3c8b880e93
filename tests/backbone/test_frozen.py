"""Frozen parts stay frozen, whatever a host does to the parameters, copies and processes."""

import copy
import io

import pytest
import torch
import torch.distributed
from torch import nn

from models.backbone.frozen import FrozenParameter, freeze
from tests.backbone.efficientvit.test_network import build
from tests.compare_maps import assert_same

FROZEN = ("stem.", "stages.0.")


def unfreeze_as_the_host_does(model):
    for parameter in model.parameters():
        parameter.requires_grad = True
    return model


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def pickled(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    options = {"weights_only": False} if hasattr(torch, "compile") else {}
    return torch.load(buffer, **options)


@pytest.fixture
def backbone():
    return build(frozen_stages=2)


@pytest.fixture
def expected(backbone):
    names = {name for name, _ in backbone.named_parameters()}
    return {name for name in names if not name.startswith(FROZEN)}


@pytest.mark.parametrize("frozen", range(5))
def test_assignment_unfreezes_nothing(frozen):
    backbone = unfreeze_as_the_host_does(build(frozen_stages=frozen))
    for place, part in enumerate((backbone.stem, *backbone.stages)):
        assert {parameter.requires_grad for parameter in part.parameters()} == {place >= frozen}


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, lambda model: copy.deepcopy(pickled(model))])
def test_copies_are_frozen_when_they_train(backbone, expected, copied):
    other = unfreeze_as_the_host_does(copied(backbone)).train()
    assert trainable(other) == expected
    assert not any(module.training for module in [*other.stem.modules(), *other.stages[0].modules()])


def test_frozen_parameters_get_no_gradient_without_any_call_of_train():
    layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    freeze(layers[0])
    layers(torch.ones(1, 2)).sum().backward()
    assert [parameter.grad is None for parameter in layers.parameters()] == [True, True, False, False]


def test_half_keeps_it(backbone, expected):
    assert trainable(unfreeze_as_the_host_does(backbone.half())) == expected


def test_synchronised_batch_norm_keeps_it(backbone, expected):
    other = unfreeze_as_the_host_does(nn.SyncBatchNorm.convert_sync_batchnorm(backbone)).train()
    assert any(isinstance(module, nn.SyncBatchNorm) for module in other.modules())
    assert trainable(other) == expected


def test_state_dicts_do_not_tell(backbone):
    free = build(seed=1)
    assert list(backbone.state_dict()) == list(free.state_dict())
    backbone.load_state_dict(free.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_same(backbone.eval()(image), free.eval()(image))
    assert all(isinstance(parameter, FrozenParameter) for parameter in backbone.stem.parameters())


def test_an_optimizer_with_weight_decay_moves_nothing_frozen(backbone):
    optimizer = torch.optim.SGD(backbone.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    before = copy.deepcopy(backbone.state_dict())
    for _ in range(2):
        optimizer.zero_grad()
        sum(m.square().mean() for m in backbone.train()(torch.rand(2, 3, 64, 64))).backward()
        optimizer.step()
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("stages.1.") for name in moved)
    assert not any(name.startswith(FROZEN) for name in moved)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
@pytest.mark.filterwarnings("ignore:Grad strides do not match bucket view strides")  # costs time, at most
@pytest.mark.parametrize("made", [lambda backbone: backbone, pickled], ids=["built", "unpickled"])
def test_distributed_training_waits_for_no_frozen_gradient(backbone, made, tmp_path):
    """The host unfreezes, wraps, and only then calls train(); the second step fails if a gradient is missing."""
    backbone = made(backbone)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(unfreeze_as_the_host_does(backbone)).train()
        for _ in range(2):
            sum(m.mean() for m in wrapped(torch.rand(2, 3, 64, 64))).backward()
    finally:
        torch.distributed.destroy_process_group()
    assert all(parameter.grad is None for parameter in backbone.stem.parameters())


def test_statistics_survive_update_bn(backbone):
    """It resets the statistics of every batch norm that it finds, and gathers new ones in training mode."""
    before = copy.deepcopy(backbone.state_dict())
    torch.optim.swa_utils.update_bn([torch.rand(2, 3, 64, 64)], backbone)
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("stages.1.") and name.endswith("running_mean") for name in moved)
    assert not any(name.startswith(FROZEN) for name in moved)


def test_frozen_norms_compute_what_they_did(backbone):
    free = build()
    free.load_state_dict(backbone.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_same(backbone.eval()(image), free.eval()(image))


def assigned(backbone):
    backbone.load_state_dict(build(seed=1).state_dict(), assign=True)
    return backbone


def materialised(backbone):
    with torch.device("meta"):
        other = type(backbone)(frozen_stages=2)
    other.to_empty(device="cpu").load_state_dict(backbone.state_dict())
    return other


@pytest.mark.skipif(not hasattr(torch, "compile"), reason="before torch 2.0 there is neither assign nor a meta mode")
@pytest.mark.parametrize("replaced", [assigned, materialised, pickled, lambda model: assigned(pickled(model))])
def test_new_parameters_are_frozen_before_train(backbone, expected, replaced):
    """A classifier that YOLOv5 cuts from a detector is unpickled, unfrozen and given to DDP before train() is called."""
    other = unfreeze_as_the_host_does(replaced(backbone))
    assert trainable(other) == expected
    assert not any(module.training for module in other.stem.modules())


def test_an_optimizer_copied_with_its_model_keeps_its_parameters(backbone):
    optimizer = torch.optim.SGD(backbone.parameters(), 0.1)
    model, copied = copy.deepcopy((backbone, optimizer))
    assert [id(p) for group in copied.param_groups for p in group["params"]] == [id(p) for p in model.parameters()]


def test_requires_grad_unfreezes_nothing(backbone, expected):
    backbone.requires_grad_(True).train()
    assert trainable(backbone) == expected
    sum(feature_map.mean() for feature_map in backbone(torch.rand(2, 3, 64, 64))).backward()
    assert {name for name, value in backbone.named_parameters() if value.grad is not None} == expected
