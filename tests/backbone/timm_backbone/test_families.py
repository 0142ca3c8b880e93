"""A model of each family of timm: normalised images, frozen stages and frozen epochs. It takes minutes.

Left out of plain `pytest`: `make test-training` runs it.
"""

import copy
import json

import pytest
import torch

from models.backbone.registry import backbone_class
from models.backbone.timm_backbone.plan import make_plan, maps_of
from tests import REPOSITORY
from tests.compare_maps import assert_same, largest_error

timm = pytest.importorskip("timm")
functional = pytest.importorskip("torchvision.transforms.functional")
TimmBackbone = backbone_class("TimmBackbone")

pytestmark = pytest.mark.training

ROWS = json.loads((REPOSITORY / "benchmarks" / "results" / "timm_sweep.json").read_text())["rows"]
SMALL = [row for row in ROWS if row.get("parameters", 1e9) < 4e7 and timm.is_model(row["model"])]


@pytest.fixture(params=SMALL, ids=lambda row: row["family"], scope="module")
def row(request):
    return request.param


def build(row, **options):
    torch.manual_seed(0)
    size = 224 if row["sizes"][2] else None
    model = TimmBackbone(3, row["model"], False, row["strides"], size, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # no branch starts as nothing
        for value in model.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=generator))
    return model


def images(model, count=1):
    size = max(model.sizes.smallest, 64)
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(2))


def test_features_are_those_of_the_normalised_image(row):
    """As timm computes them with torchvision's normalisation, by its mean and deviation of this model."""
    scout = timm.create_model(row["model"])
    mean, std = (list(scout.pretrained_cfg[name]) for name in ("mean", "std"))
    model = build(row, normalize=[mean, std]).eval()
    plan = make_plan(row["model"], 3, row["strides"], 224 if row["sizes"][2] else None)
    reference = timm.create_model(row["model"], **plan.options).eval()
    reference.load_state_dict(model.net.state_dict(), strict=False)  # without what no map depends on
    image = images(model)
    normalised = functional.normalize(image.double(), mean, std)
    with torch.no_grad():
        expected = maps_of(reference, normalised.float())
        assert error_of(copy.deepcopy(model).fuse(), image, expected) < 1e-3
        rounding = largest_error(maps_of(reference, functional.normalize(image, mean, std)), expected)
        assert error_of(model, image, expected) <= min(1e-3, 1e-5 + 10 * rounding)


def error_of(model, image, expected):
    """Of the network's own maps where it does not pad, because the backbone then adds cells around them."""
    maps = maps_of(model.net, model.normalization(image)) if model.needs_border_padding else model(image)
    return largest_error(maps, expected)


def trained(model, epoch=0):
    """Train one step as YOLOv5 does, and return the names of the tensors that moved."""
    for parameter in model.parameters():
        parameter.requires_grad = True
    model.begin_epoch(epoch)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    maps = [feature_map for feature_map in model(images(model, 2)) if feature_map.requires_grad]
    if maps:
        optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.1)
        torch.stack([feature_map.square().mean() for feature_map in maps]).sum().backward()
        optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def test_frozen_stages(row):
    """The first map stays to the bit, whatever the rest learns."""
    model = build(row, frozen_stages=2)
    image = images(model)
    with torch.no_grad():
        first = copy.deepcopy(model).eval()(image)[0]
    moved = trained(model)
    assert not {name.replace("net.", "", 1) for name in moved} & model.frozen_names
    assert bool(moved) == (len(row["strides"]) > 1)
    with torch.no_grad():
        assert_same(copy.deepcopy(model).eval()(image)[0], first)


def test_frozen_epochs(row):
    """Nothing moves in the first epoch, and every parameter in the second."""
    model = build(row, frozen_epochs=1)
    assert trained(model) == set()
    moved = trained(model, 1)
    assert {name for name, _ in model.named_parameters()} <= moved
