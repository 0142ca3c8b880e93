"""Traces of timm models run at sizes that they were not made at, beside PyTorch: right, or an error, never wrong."""

import copy
import importlib
import pickle
import warnings

import pytest
import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of timm's imports
    timm = pytest.importorskip("timm", reason="timm is not installed, and only TimmBackbone rows need it")

from models.backbone.registry import backbone_class
from models.backbone.timm_backbone import sizes as timm_sizes
from models.backbone.timm_backbone import trace as timm_trace
from models.backbone.timm_backbone.sizes import SizeRule, pad_borders, pad_image, padded_side
from tests.compare_maps import largest_error

TimmBackbone = backbone_class("TimmBackbone")
TRACED = (128, 192)  # pixels, height and width
OTHERS = [(3, (64, 96)), (2, (256, 128)), (1, (192, 256)), (2, (224, 224)), (1, (100, 75))]  # images, and their size
LEVELS = [8, 16, 32]

# model: its row, and which size rule it stands for
SERVED = {
    "test_resnet": ([LEVELS], "any size"),
    "efficientvit_m0": ([[16, 32, 64]], "any size, with windows"),
    "pvt_v2_b0": ([LEVELS], "any size, with attention"),
    "test_vit": ([[16]], "any size, with a table that is resampled"),
    "inception_v3": ([LEVELS], "from 96, and maps that lack cells"),
    "test_coatnet": ([LEVELS, 224], "one size"),
    "efficientformerv2_s0": ([LEVELS, 224], "one size, and attention biases that it caches"),
}
FROZEN = "mobilevit_xxs"  # its own code computes patches from Python's numbers
ROUNDING = 1e-5  # of a map's largest value


def build(name):
    torch.manual_seed(0)
    row = SERVED[name][0] if name in SERVED else [LEVELS]
    return TimmBackbone(3, name, False, *row)


def trace(model, size=TRACED, count=2):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", "`torch.jit.trace")
        with torch.no_grad():
            return torch.jit.trace(model, torch.rand(count, 3, *size), strict=False, check_trace=False)


def assert_same_maps(found, expected):
    assert largest_error(found, expected) <= ROUNDING


@pytest.mark.parametrize("name", SERVED)
def test_a_trace_serves_every_size(name):
    model = build(name)
    traced = trace(model)
    for count, size in OTHERS:
        image = torch.rand(count, 3, *size)
        with torch.no_grad():
            assert_same_maps(traced(image), model(image))


def test_a_trace_of_a_model_of_multiples_pads_and_cuts():
    """As HaloNet's, whose blocks of attention tile images of 256 pixels; with a net that is quicker than it."""
    model = build("test_resnet")
    model.sizes = SizeRule(128, 128)
    traced = trace(model, (128, 256))  # which needs no padding
    for count, size in [(1, (32, 32)), (2, (288, 96)), (1, (130, 128))]:
        image = torch.rand(count, 3, *size)
        with torch.no_grad():
            assert_same_maps(traced(image), model(image))


def test_a_model_that_freezes_its_size_is_pinned_and_reported(caplog):
    model = build(FROZEN)
    traced = trace(model)
    assert f"takes images of 128x192 pixels only: {FROZEN}'s own code fixes that" in caplog.text
    for count in (1, 2):
        image = torch.rand(count, 3, *TRACED)
        with torch.no_grad():
            assert_same_maps(traced(image), model(image))
    for count, size in [(2, (64, 96)), (2, (192, 128)), (1, (192, 256)), (1, (256, 192))]:
        with pytest.raises(RuntimeError, match="expanded size"):
            traced(torch.rand(count, 3, *size))


def test_an_image_beyond_the_one_size_is_an_error_of_the_trace():
    traced = trace(build("test_coatnet"))
    with pytest.raises(RuntimeError, match="expanded size"):
        traced(torch.rand(1, 3, 288, 96))


def test_a_trace_leaves_the_model_as_it_was():
    model = build("test_resnet").train()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(1)
    timm_trace.pin_frozen_shape(torch.rand(2, 3, 64, 64), model.net, model.sizes, "")
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class ByPythonsNumbers(nn.Module):
    """Scales by a number of the image, which a trace freezes."""

    def __init__(self, dimension):
        super().__init__()
        self.dimension = dimension

    def forward(self, x):
        return [x * int(x.shape[self.dimension])]


@pytest.mark.parametrize(("dimension", "shape"), [(0, (2, -1, -1, -1)), (2, (-1, -1, 64, 96)), (3, (-1, -1, 64, 96))])
def test_what_is_pinned(dimension, shape, caplog):
    x = torch.rand(2, 3, 64, 96)
    net, sizes = ByPythonsNumbers(dimension), SizeRule(32, 32)
    assert timm_trace.try_trace(net, x, x.shape, sizes) == (shape[0] == -1, shape[2] == -1)
    timm_trace.pin_frozen_shape(x, net, sizes, "a model")
    assert ("in batches of 2 only" if dimension == 0 else "of 64x96 pixels only") in caplog.text


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return [x * self.factor]


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("error", "same"), [(0.5, True), (2.0, False), (-2.0, False)])
def test_a_trace_may_differ_by_a_part_of_the_largest_value(size, error, same):
    net = Scaled(size)
    traced = trace(Scaled(size * (1 + error * timm_trace.MAX_ERROR)))
    assert timm_trace.same_maps(net, traced, torch.rand(1, 3, 32, 32)) == same


class Pinned(nn.Module):
    def forward(self, x):
        return timm_trace.pin_frozen_shape(x, ByPythonsNumbers(0), SizeRule(32, 32), "a model")


@pytest.mark.parametrize(("traced", "other"), [(1, 2), (1, 4), (2, 1), (3, 6)])
def test_a_pinned_batch_takes_no_other(traced, other):
    pinned = trace(Pinned(), (64, 96), traced)
    image = torch.rand(traced, 3, 96, 64)
    assert torch.equal(pinned(image), image)
    with pytest.raises(RuntimeError, match="is invalid for input of size"):
        pinned(torch.rand(other, 3, 64, 96))


def test_a_model_that_is_loaded_for_inference_is_traced():
    """YOLOv5 loads and exports inside inference mode."""
    saved = pickle.dumps(build("test_resnet"))
    with torch.inference_mode():
        model = pickle.loads(saved)
        assert model.net.conv1[0].weight.is_inference()
        traced = trace(model)
        image = torch.rand(1, 3, 96, 64)
        assert_same_maps(traced(image), model(image))


@pytest.mark.parametrize("rule", [SizeRule(32, 32), SizeRule(32, 96), SizeRule(224, 224)], ids=str)
def test_exported_padding_is_that_of_eager_padding(rule, monkeypatch):
    for size in [(32, 64), (75, 100), (224, 256), (97, 31)]:
        x = torch.rand(1, 3, *size)
        expected = pad_image(x, rule, "")
        assert expected.shape[2:] == tuple(max(rule.smallest, -(-side // rule.step) * rule.step) for side in size)
        monkeypatch.setattr(timm_sizes, "is_exporting", lambda: True)
        assert torch.equal(pad_image(x, rule, ""), expected)
        monkeypatch.undo()
        assert padded_side(torch.tensor(size[0]), rule) == expected.shape[2]


@pytest.mark.parametrize("missing", [(0, 0), (1, 2), (3, 4)], ids=str)
def test_exported_borders_are_those_of_eager_borders(missing, monkeypatch):
    feature_map, size = torch.rand(1, 2, 8, 9), (8 + missing[0], 9 + missing[1])
    expected = pad_borders(feature_map, *size)
    monkeypatch.setattr(timm_sizes, "is_exporting", lambda: True)
    assert expected.shape[2:] == size
    assert torch.equal(pad_borders(feature_map, *size), expected)


@pytest.mark.exports
@pytest.mark.parametrize("simplify", [False, True], ids=["", "slim"])
@pytest.mark.parametrize("name", [*(name for name in SERVED if name != "test_vit"), FROZEN])
def test_dynamic_onnx(name, simplify, tmp_path):
    """By the exporter that traces, as YOLOv5's export.py does today."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model, path = build(name), tmp_path / "model.onnx"
    axes = {"images": {0: "batch", 2: "height", 3: "width"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"dynamic_axes": axes, "opset_version": 17, "dynamo": False, "input_names": ["images"]}
        torch.onnx.export(model, (torch.rand(2, 3, *TRACED),), str(path), **settings)
        if simplify:
            onnx.save(importlib.import_module("onnxslim").slim(onnx.load(path)), path)
    session = onnxruntime.InferenceSession(str(path))
    for count, size in [(2, TRACED), *OTHERS]:
        image = torch.rand(count, 3, *size)
        if name == FROZEN and size != TRACED:
            with pytest.raises(Exception, match="running Expand node"):  # of one type or another, by its version
                session.run(None, {"images": image.numpy()})
        else:
            with torch.no_grad():
                assert_same_maps(session.run(None, {"images": image.numpy()}), model(image))
