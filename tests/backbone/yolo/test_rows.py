"""The helpers that a patched host calls."""

import re

import pytest
import torch
from torch import nn

from models.backbone import registry
from models.backbone import yolo as host
from models.backbone.efficientvit.network import EfficientViT_M0
from models.backbone.registry import backbone_class, register, registered_names


def build(rows, row=0, source=-1, repeats=1, args=(), channels=(3,), save=None, layers=None):
    args = list(args) if isinstance(args, tuple) else args
    index = rows.layer_index(row, source, "EfficientViT_M0", args, channels)
    save, layers = [] if save is None else save, [] if layers is None else layers
    return rows.build(index, source, repeats, "EfficientViT_M0", args, list(channels), save, layers)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def rows(lines):
    return host.BackboneRows(lines.append)


def test_stock_rows_are_left_alone(rows):
    """Also those that are wrong or unknown: they are the host's to refuse."""
    stock = [
        (-1, "Conv", [64, 6, 2]),
        ([-1, 0], "Concat", [1]),
        (7, "Conv", []),
        (-9, "Own", [None]),
        ("L3", "Own", []),
    ]
    for row, (source, name, args) in enumerate(stock):
        assert rows.layer_index(row, source, name, args, [3]) == row
    assert not rows.is_backbone("Conv")
    assert not rows.is_backbone(nn.Conv2d)


def test_a_backbone_at_row_0(rows, lines):
    layers, save = [], []
    assert build(rows, channels=[6], save=save, layers=layers) == [0, 0, 64, 128, 192]
    (layer,) = layers
    assert (layer.i, layer.f, layer.np) == (4, -1, sum(p.numel() for p in layer.parameters()))
    assert layer.type == "models.backbone.efficientvit.network.EfficientViT_M0"
    assert layer.stem.conv1.conv.in_channels == 6
    assert save == []
    assert lines[0].split()[:4] == ["4", "-1", "1", str(layer.np)]
    assert rows.layer_index(1, -1, "SPPF", [1024, 5], [0, 0, 64, 128, 192]) == 5
    assert rows.layer_index(2, [-1, 4], "Concat", [1], [0, 0, 64, 128, 192, 256]) == 6


@pytest.mark.parametrize("notes", ["", "412 tensors loaded from m0.pth"])
def test_the_log_has_the_notes_of_a_backbone_behind_its_row(rows, lines, notes, monkeypatch):
    monkeypatch.setattr(EfficientViT_M0, "notes", notes)
    build(rows)
    assert lines[1:] == ([notes] if notes else [])


def test_a_backbone_further_down(rows):
    """A layer in front of it, and a second backbone on the same input."""
    layers, save = [], []
    assert rows.layer_index(0, -1, "Conv", [8, 3, 2], [3]) == 0
    channels = build(rows, row=1, source=0, channels=[8], save=save, layers=layers)
    assert channels == [8, 0, 0, 64, 128, 192]
    assert build(rows, row=2, source=0, channels=channels, save=save, layers=layers)[6:] == [0, 0, 64, 128, 192]
    assert [layer.i for layer in layers] == [5, 10]
    assert [layer.stem.conv1.conv.in_channels for layer in layers] == [8, 8]
    assert save == [0, 0]
    assert rows.layer_index(3, -1, "Conv", [8], [*channels, 0, 0, 64, 128, 192]) == 11
    assert rows.table.strides == [2, None, None, 16, 32, 64, None, None, 16, 32, 64, 64]


def test_where_the_image_keeps_its_place_among_the_channels(lines):
    """Before YOLOv5 v5.0: channels[k + 1] is that of layer k."""
    rows, layers = host.BackboneRows(lines.append, image_channels_kept=True), []
    channels = build(rows, channels=[6], layers=layers)
    assert channels == [6, 0, 0, 64, 128, 192]
    assert layers[0].stem.conv1.conv.in_channels == 6
    assert rows.layer_index(1, -1, "SPP", [1024], channels) == 5
    assert build(rows, row=2, source=3, channels=[*channels, 256], layers=layers)[:7] == [*channels, 256]
    assert layers[1].stem.conv1.conv.in_channels == 128
    with pytest.raises(ValueError, match="2: 64 channels, stride 8\n"):
        rows.layer_index(3, 0, "Conv", [8], [*channels, 256, 0, 0, 64, 128, 192])


MAPS = [0, 0, 64, 128, 192]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (0, "from 0 holds no feature map"),
        (1, "from 1 holds no feature map"),
        (-4, "from -4 holds no feature map"),
        (-5, "from -5 holds no feature map"),
        ([-1, 0], r"from \[-1, 0\] holds no feature map"),
        (5, "from 5 is not one of the layers before 5"),
        (-6, "from -6 is not one of the layers before 5"),
        ([5, -1], r"from \[5, -1\] is not one of the layers before 5"),
        ([-1, 3], r"from \[-1, 3\] joins maps of stride 32 and 16"),
    ],
    ids=str,
)
def test_a_from_that_does_not_fit_is_refused(rows, source, problem):
    build(rows)
    held = r"0: nothing\n +1: nothing\n +2: 64 channels, stride 8\n +3: 128 channels, stride 16\n +4: 192 channels, st"
    with pytest.raises(ValueError, match=rf"yaml row 1 \(Concat, layer 5\): its {problem}. Correct it; .*\n +{held}"):
        rows.layer_index(1, source, "Concat", [1], MAPS)


def test_strides_are_followed_through_the_neck(rows):
    """The most usual mistake: the numbers of a stock yaml, in which stride 16 is layer 6."""
    build(rows)
    neck = [(-1, "SPPF", [1024, 5]), (-1, "Conv", [512, 1, 1]), (-1, "nn.Upsample", ["None", 2, "nearest"])]
    channels = [*MAPS, 256, 128, 128]
    for row, (source, name, args) in enumerate(neck, 1):
        rows.layer_index(row, source, name, args, channels[: 4 + row])
    with pytest.raises(
        ValueError, match=r"from \[-1, 6\] joins maps of stride 16 and 32(.|\n)* 7: 128 channels, stride 16"
    ):
        rows.layer_index(4, [-1, 6], "Concat", [1], channels)
    assert rows.layer_index(4, [-1, 3], "Concat", [1], channels) == 8
    rows.layer_index(5, -1, "Own", [1], [*channels, 256])
    assert rows.layer_index(6, [-1, 6], "Concat", [1], [*channels, 256, 256]) == 10, "of an unknown stride"


@pytest.mark.parametrize("head", ["Detect", "Segment"])
def test_a_head_that_reads_one_stride_twice_is_reported(rows, lines, head):
    build(rows)
    lines.clear()
    assert rows.layer_index(1, [4, 2, 3], head, ["nc", "anchors"], MAPS) == 5
    assert lines == []
    assert rows.layer_index(2, [2, 3, 3], head, ["nc", "anchors"], [*MAPS, 0]) == 6
    (expected,) = lines
    assert re.search(
        r"^WARNING yaml row 2 .*from \[2, 3, 3\] reads two maps of one stride \(8 and 16 and 16\)", expected
    )
    assert "3: 128 channels, stride 16" in expected


@pytest.mark.parametrize("kind", ["Conv", "CrossConv", "DWConv", "GhostConv"])
def test_a_strided_layer_halves_the_map(rows, kind):
    build(rows)
    rows.layer_index(1, -1, kind, [512, 3, 2], MAPS)
    with pytest.raises(ValueError, match="joins maps of stride 64 and 32"):
        rows.layer_index(2, [-1, 4], "Concat", [1], [*MAPS, 512])


@pytest.mark.parametrize("source", [2, 3, 4, -1, -2, -3, [-1, 4]], ids=str)
def test_a_from_that_names_a_map_is_taken(rows, source):
    build(rows)
    assert rows.layer_index(1, source, "Concat", [1], MAPS) == 5


@pytest.mark.parametrize(
    ("modules", "expected"), [(0, ""), (1, ""), (2, r"layers 5 \(Conv2d\) are"), (4, r"layers 5 .*, 7 \(Conv2d\) are")]
)
def test_freezing_past_the_backbone_is_reported(rows, lines, modules, expected):
    layers = []
    build(rows, layers=layers)
    for index, layer in enumerate([nn.Conv2d(1, 1, 1), nn.Upsample(), nn.Conv2d(1, 1, 1)], 5):
        layer.i, layer.type, layer.np = index, f"torch.nn.{type(layer).__name__}", len(list(layer.parameters()))
        layers.append(layer)
    model = nn.Module()
    model.model = nn.Sequential(*layers)
    model.model[:modules].requires_grad_(False)
    lines.clear()
    host.warn_of_frozen_neck(model, lines.append)
    assert bool(lines) == bool(expected)
    assert not expected or re.search(
        rf"EfficientViT_M0 is one of them: besides it, {expected} frozen.*--freeze 1\.", lines[0]
    )


@pytest.mark.parametrize(
    ("rows", "cutoff", "kept", "right"),
    [
        (2, 1, "cuts the backbone off", 2),
        (2, 2, "", 2),
        (2, 3, "keeps a part of the neck, which may not run by itself", 2),
        (2, 10, "keeps a part of the neck, which may not run by itself", 2),
        (1, 2, "", 2),
        (1, 1, "cuts the backbone off", 2),
        (3, 2, "", 3),
        (3, 3, "", 3),
        (3, 4, "keeps a part of the neck, which may not run by itself", 3),
    ],
)
def test_a_classifier_cut_inside_the_neck_is_reported(lines, rows, cutoff, kept, right):
    """`rows` stand in the yaml's backbone, the first of them ours."""
    model = nn.Module()
    model.model = nn.Sequential(EfficientViT_M0(), *(nn.Identity() for _ in range(16)))
    model.yaml = {"backbone": [[-1, 1, "Own", []]] * rows}
    host.warn_of_cut_neck(model, cutoff, lines.append)
    expected = (
        f"EfficientViT_M0 is one of them: --cutoff {cutoff} {kept}. To keep the backbone alone, use --cutoff {right}."
    )
    assert lines == ([f"WARNING --cutoff counts modules, and {expected}"] if kept else [])


def test_cutting_a_stock_model_is_no_matter(lines):
    model = nn.Module()
    model.model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    host.warn_of_cut_neck(model, 10, lines.append)
    assert lines == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"source": [-1, 0]}, "a backbone takes one input"),
        ({"repeats": 2}, "change its second entry from 2 to 1"),
        (
            {"args": ["", 0, 8, True, None, 0, 1]},
            r"its args are \[weights, .*, frozen_epochs\], the last ones also by .*, not \[\'\', 0, 8, True, None, 0, 1\]",
        ),
        ({"args": "best.pt"}, r"its args are \[weights, .*\], .*, not best.pt \(a list"),
        ({"args": 2}, r"its args are \[weights, .*\], .*, not 2 \(a list"),
        ({"args": ["", 9]}, "frozen_stages must be 0 to 4"),
        ({"args": ["", {"frozen_stages": 9}]}, "frozen_stages must be 0 to 4"),
        ({"args": ["", {"frozen": 1}]}, r"its args are \[weights, .* not \[\'\', {\'frozen\': 1}\]"),
        ({"args": ["", {"weights": ""}]}, r"its args are \[weights, .*multiple values"),
        ({"source": 0}, "change its first entry from 0 to -1"),
    ],
    ids=["list", "number", "args", "no brackets", "a number alone", "value", "by name", "no name", "twice", "from"],
)
def test_a_wrong_backbone_row_is_refused(rows, row, message):
    with pytest.raises(ValueError, match=message):
        build(rows, channels=[3, 3], **row)


@pytest.mark.parametrize(
    "args", [[{"frozen_stages": 2}], ["", {"frozen_stages": 2}], [{"weights": "None", "frozen_stages": 2}]], ids=str
)
def test_the_last_arguments_may_be_given_by_name(rows, args):
    layers = []
    build(rows, args=args, layers=layers)
    assert layers[0].frozen_stages == 2


@pytest.mark.parametrize("args", [["None"], [""], [None]], ids=str)
def test_no_weights(rows, args):
    layers = []
    build(rows, args=args, layers=layers)
    assert layers[0].training


@pytest.mark.parametrize("model", [nn.Linear(1, 1), nn.Sequential(nn.Linear(1, 1))], ids=["layer", "layers"])
def test_freezing_another_model_is_no_matter(model, lines):
    outer = nn.Module()
    outer.model = model
    outer.requires_grad_(False)
    for frozen in (outer, model):
        host.warn_of_frozen_neck(frozen, lines.append)
    assert lines == []


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
    register("EfficientViT_M0", ".efficientvit.network")  # again, as a reload would


@pytest.mark.parametrize("name", ["Conv2d", "no_such_class"])
def test_a_registered_class_must_be_a_backbone(name, monkeypatch):
    monkeypatch.setitem(registry._modules, name, "torch.nn")
    with pytest.raises(ValueError, match="has no class .* that derives from Backbone"):
        backbone_class(name)
