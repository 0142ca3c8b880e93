"""Frozen stages of models of timm, and timm's own options in a row."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from models.backbone.registry import backbone_class
from tests.compare_maps import assert_same

timm = pytest.importorskip("timm")
TimmBackbone = backbone_class("TimmBackbone")

# what a map depends on lies in other places in each
MODELS = ["test_resnet", "test_convnext", "test_byobnet", "lcnet_035", "hrnet_w18_small", "mobilevit_xxs"]
SMALL = "test_resnet"


def images(count=2):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def trained(model):
    """Train one step as YOLOv5 does, which first lets every parameter have a gradient."""
    for parameter in model.parameters():
        parameter.requires_grad = True
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    model.train()
    sum(feature_map.square().mean() for feature_map in model(images())).backward()
    optimizer.step()
    return model


def maps(model):
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images(1))


@pytest.fixture(params=MODELS)
def name(request):
    if not timm.is_model(request.param):
        pytest.skip(f"timm {timm.__version__} has no {request.param}")
    return request.param


@pytest.mark.parametrize("frozen_stages", [1, 2, 3, 4])
def test_what_is_frozen_stays_and_the_rest_is_trained(name, frozen_stages):
    torch.manual_seed(0)
    model = TimmBackbone(3, name, frozen_stages=frozen_stages)
    before, state = maps(model), copy.deepcopy(model.state_dict())
    if frozen_stages < 4:
        trained(model)
    else:
        model.train()(images())  # nothing is left that has a gradient
    after = maps(model)
    stays = [torch.equal(one, other) for one, other in zip(before, after)]
    assert stays == [position < frozen_stages - 1 for position in range(3)]
    moved = {key for key, value in model.net.state_dict().items() if not torch.equal(value, state[f"net.{key}"])}
    assert not moved & model.frozen_names, "batch norms included"
    assert moved or frozen_stages == 4


def test_the_stem_is_what_comes_before_the_first_map():
    model = TimmBackbone(3, "test_resnet", frozen_stages=1)
    assert {key.split(".")[0] for key in model.frozen_names} == {"conv1", "bn1", "layer1"}  # stride 4, before 8
    assert "tensors frozen" in model.notes


ROUTES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "half and back": lambda model: model.half().float(),
    "torch.save": lambda model: reloaded(model),
}


def reloaded(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE")
@pytest.mark.parametrize("route", ROUTES)
def test_it_survives(route):
    model = ROUTES[route](TimmBackbone(3, SMALL, frozen_stages=2))
    before = maps(model)[0]
    assert torch.equal(maps(trained(model))[0], before)


def test_it_survives_a_state_dict_that_is_assigned():
    model = TimmBackbone(3, SMALL, frozen_stages=2)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    try:
        model.load_state_dict(state, assign=True)
    except TypeError:
        pytest.skip("this torch does not assign")
    before = maps(model)[0]
    assert torch.equal(maps(trained(model))[0], before)


def test_the_frozen_parts_stay_in_eval_mode():
    model = TimmBackbone(3, SMALL, frozen_stages=2, options={"drop_path_rate": 0.5}).train()
    assert not any(module.training for module in model.net.layer1.modules())
    assert any(module.training for module in model.net.layer4.modules())


def test_nothing_is_frozen_by_default_and_fusing_goes_on():
    assert all(parameter.requires_grad for parameter in TimmBackbone(3, SMALL).parameters())
    model = TimmBackbone(3, SMALL, frozen_stages=2)
    expected = maps(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.fuse().modules())
    for found, one in zip(maps(model), expected):
        assert (found - one).abs().max() <= 1e-5 * one.abs().max()


def test_an_option_of_timm_reaches_the_model():
    model = TimmBackbone(3, SMALL, options={"drop_path_rate": 0.5})
    rates = [module.drop_prob for module in model.modules() if type(module).__name__ == "DropPath"]
    assert max(rates) == 0.5
    assert_same(maps(model), maps(model))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": {"no_such_option": 1}}, "timm .* does not build test_resnet with the options .*no_such_option"),
        ({"options": {"in_chans": 6, "pretrained": True}}, "in_chans, pretrained cannot be among the options"),
        ({"options": ["drop_path_rate"]}, r"options must be like \{drop_path_rate: 0.1\}, not \['drop_path_rate'\]"),
        ({"frozen_stages": 5}, "frozen_stages must be 0 to 4, not 5"),
        ({"frozen_stages": True}, "frozen_stages must be 0 to 4, not True"),
        ({"frozen_stages": 3, "strides": [16]}, "frozen_stages must be 0 to 2, not 3"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"TimmBackbone: .*{message}"):
        TimmBackbone(3, SMALL, **arguments)
