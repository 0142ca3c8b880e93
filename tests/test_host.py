"""The helpers that a patched host calls."""

import re

import pytest
import torch
from torch import nn

from models.backbone import host
from models.backbone.efficientvit import EfficientViT_M0
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
    assert layer.type == "models.backbone.efficientvit.EfficientViT_M0"
    assert layer.stem.conv1.conv.in_channels == 6
    assert save == []
    assert lines[0].split()[:4] == ["4", "-1", "1", str(layer.np)]
    assert rows.layer_index(1, -1, "SPPF", [1024, 5], [0, 0, 64, 128, 192]) == 5
    assert rows.layer_index(2, [-1, 4], "Concat", [1], [0, 0, 64, 128, 192, 256]) == 6


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
def test_a_head_that_reads_one_stride_twice_is_told(rows, lines, head):
    build(rows)
    lines.clear()
    assert rows.layer_index(1, [4, 2, 3], head, ["nc", "anchors"], MAPS) == 5
    assert lines == []
    assert rows.layer_index(2, [2, 3, 3], head, ["nc", "anchors"], [*MAPS, 0]) == 6
    (told,) = lines
    assert re.search(r"^WARNING yaml row 2 .*from \[2, 3, 3\] reads two maps of one stride \(8 and 16 and 16\)", told)
    assert "3: 128 channels, stride 16" in told


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
    ("modules", "told"), [(0, ""), (1, ""), (2, r"layers 5 \(Conv2d\) are"), (4, r"layers 5 .*, 7 \(Conv2d\) are")]
)
def test_freezing_past_the_backbone_is_told(rows, lines, modules, told):
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
    assert bool(lines) == bool(told)
    assert not told or re.search(rf"EfficientViT_M0 is one of them: besides it, {told} frozen.*--freeze 1\.", lines[0])


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
def test_a_classifier_cut_inside_the_neck_is_told(lines, rows, cutoff, kept, right):
    """`rows` stand in the yaml's backbone, the first of them ours."""
    model = nn.Module()
    model.model = nn.Sequential(EfficientViT_M0(), *(nn.Identity() for _ in range(16)))
    model.yaml = {"backbone": [[-1, 1, "Own", []]] * rows}
    host.warn_of_cut_neck(model, cutoff, lines.append)
    told = (
        f"EfficientViT_M0 is one of them: --cutoff {cutoff} {kept}. To keep the backbone alone, use --cutoff {right}."
    )
    assert lines == ([f"WARNING --cutoff counts modules, and {told}"] if kept else [])


def test_cutting_a_stock_model_is_no_matter(lines):
    model = nn.Module()
    model.model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    host.warn_of_cut_neck(model, 10, lines.append)
    assert lines == []


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
    decaying = {"0.conv.weight", "0.attention.out_proj.weight", "1.weight"}
    decaying |= {"0.attention.in_proj_weight", "0.frozen_token"} if takes_all else set()
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


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"source": [-1, 0]}, "a backbone takes one input"),
        ({"repeats": 2}, "its number is 2, make it 1"),
        ({"args": ["", 0, 8, 1]}, r"its args are \[weights, frozen_stages, stem_stride\], not \[\'\', 0, 8, 1\]"),
        ({"args": "best.pt"}, r"its args are \[weights, frozen_stages, stem_stride\], not best.pt \(a list"),
        ({"args": 2}, r"its args are \[weights, frozen_stages, stem_stride\], not 2 \(a list"),
        ({"args": ["", 9]}, "frozen_stages must be 0 to 4"),
        ({"source": 0}, "there is no layer 0 in front of it"),
    ],
    ids=["list", "number", "args", "no brackets", "a number alone", "value", "from"],
)
def test_a_wrong_backbone_row_is_refused(rows, row, message):
    with pytest.raises(ValueError, match=message):
        build(rows, channels=[3, 3], **row)


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
    register("EfficientViT_M0", ".efficientvit")  # again, as a reload would


@pytest.mark.parametrize("name", ["Conv2d", "no_such_class"])
def test_a_registered_class_must_be_a_backbone(name, monkeypatch):
    monkeypatch.setitem(host.backbone_class.__globals__["_modules"], name, "torch.nn")
    with pytest.raises(ValueError, match="has no class .* that derives from Backbone"):
        backbone_class(name)
