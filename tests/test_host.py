"""The helpers that a patched host calls."""

import pytest
import torch
from torch import nn

from models.backbone import host
from models.backbone.efficientvit import EfficientViT_M0
from models.backbone.registry import backbone_class, register, registered_names


def build(rows, row=0, source=-1, repeats=1, args=(), channels=(3,), save=None, layers=None):
    index = rows.layer_index(row, source, "EfficientViT_M0")
    save, layers = [] if save is None else save, [] if layers is None else layers
    return rows.build(index, source, repeats, "EfficientViT_M0", list(args), list(channels), save, layers)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def rows(lines):
    return host.BackboneRows(lines.append)


def test_stock_rows_are_left_alone(rows):
    for row, source in enumerate([-1, -1, [-1, 0], 7, -9]):  # the last two are the host's to refuse
        assert rows.layer_index(row, source, "Conv") == row
    assert not rows.is_backbone("Conv")
    assert not rows.is_backbone(nn.Conv2d)


def test_a_backbone_at_row_0(rows, lines):
    layers, save = [], []
    assert build(rows, channels=[6], save=save, layers=layers) == [0, 0, 64, 128, 192]
    (layer,) = layers
    assert (layer.i, layer.f, layer.np) == (4, -1, sum(p.numel() for p in layer.parameters()))
    assert layer.type == "models.backbone.efficientvit.EfficientViT_M0"
    assert layer.stem.conv1.conv.in_channels == 6
    assert save == []
    assert lines[0].split()[:4] == ["4", "-1", "1", str(layer.np)]
    assert rows.layer_index(1, -1, "SPPF") == 5
    assert rows.layer_index(2, [-1, 3], "Concat") == 6


def test_a_backbone_further_down(rows):
    """A layer in front of it, and a second backbone on the same input."""
    layers, save = [], []
    channels = build(rows, row=1, source=0, channels=[8], save=save, layers=layers)
    assert channels == [8, 0, 0, 64, 128, 192]
    assert build(rows, row=2, source=0, channels=channels, save=save, layers=layers)[6:] == [0, 0, 64, 128, 192]
    assert [layer.i for layer in layers] == [5, 10]
    assert save == [0, 0]
    assert rows.layer_index(3, -1, "Conv") == 11


@pytest.mark.parametrize("source", [0, 1, -4, -5, [-1, 0], 5, -6, [5, -1]], ids=str)
def test_a_from_that_names_no_map_is_refused(rows, source):
    build(rows)
    with pytest.raises(
        ValueError, match=r"yaml row 1 \(Concat, layer 5\): from -?\d .*2: stride 8, 64 channels; 3: st"
    ):
        rows.layer_index(1, source, "Concat")


@pytest.mark.parametrize("source", [2, 3, 4, -1, -2, -3, [-1, 2]], ids=str)
def test_a_from_that_names_a_map_is_taken(rows, source):
    build(rows)
    assert rows.layer_index(1, source, "Concat") == 5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"source": [-1, 0]}, "a backbone takes one input"),
        ({"repeats": 2}, "its number is 2, make it 1"),
        ({"args": ["", 0, 8, 1]}, "its args .* do not fit"),
        ({"args": ["", 9]}, "frozen_stages must be 0 to 4"),
    ],
    ids=["list", "number", "args", "value"],
)
def test_a_wrong_backbone_row_is_refused(rows, row, message):
    with pytest.raises(ValueError, match=message):
        build(rows, channels=[3, 3], **row)


@pytest.mark.parametrize("args", [["None"], [""], [None]], ids=str)
def test_no_weights(rows, args):
    layers = []
    build(rows, args=args, layers=layers)
    assert layers[0].training


def test_unpack_maps_fills_the_indices_before_the_last():
    outputs = ["layer 0"]
    maps = [torch.full((1,), float(stride)) for stride in (8, 16, 32)]
    assert host.unpack_maps(EfficientViT_M0(), maps, outputs, save=[3]) is maps[2]
    assert outputs == ["layer 0", None, None, maps[0], None]


def test_fuse_backbones_fuses_each():
    layers = nn.Sequential(EfficientViT_M0(), nn.Conv2d(3, 3, 1))
    host.fuse_backbones(layers)
    assert layers[0].stem.conv1.fused


def test_registry():
    assert registered_names()[:6] == [f"EfficientViT_M{k}" for k in range(6)]
    with pytest.raises(ValueError, match="there is no backbone 'ResNet'; the registered ones are EfficientViT_M0"):
        backbone_class("ResNet")
    with pytest.raises(ValueError, match="'EfficientViT_M0' is taken"):
        register("EfficientViT_M0", "elsewhere")
    register("EfficientViT_M0", ".efficientvit")  # again, as a reload would


@pytest.mark.parametrize("name", ["Conv2d", "no_such_class"])
def test_a_registered_class_must_be_a_backbone(name, monkeypatch):
    monkeypatch.setitem(host.backbone_class.__globals__["_modules"], name, "torch.nn")
    with pytest.raises(ValueError, match="has no class .* that derives from Backbone"):
        backbone_class(name)
