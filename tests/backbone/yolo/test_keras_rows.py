"""What a patched models/tf.py calls, without TensorFlow: PyTorch layers stand for the Keras ones."""

import json
import os
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from models.backbone.contract import Backbone
from models.backbone.efficientvit.network import EfficientViT_M0
from models.backbone.yolo import keras_rows as tensorflow_host
from tests import TESTS
from tests.compare_maps import largest_error
from tests.warm_python import run_python

EXPORT = """
import json, sys
import torch
from compare_maps import largest_error
from models.tf import Export
from models.yolo import Net

if "models.backbone.yolo.keras_rows" in sys.modules:
    from models.backbone.yolo.keras_rows import KerasBackbone, TensorFlowRows

    class StandIn(KerasBackbone):
        def __init__(self, backbone):
            self.backbone = backbone.fuse()

        def __call__(self, value):
            return self.backbone(value)

    TensorFlowRows.to_host_layer = lambda self, backbone: StandIn(backbone)

config = json.loads(sys.argv[1])
net = Net(config).eval()
config["backbone"][0][3][0] = "/gone/by/now.pth"  # which nobody needs any more
export = Export(net, config)
image = torch.rand(1, 3, 96, 64)
with torch.no_grad():
    expected, exported = net(image), export.predict(image)
print(json.dumps({
    "indices": [layer.i for layer in export.model.layers],
    "kept": export.kept,
    "error": largest_error(exported, expected),
    "imports TensorFlow": "tensorflow" in sys.modules,
    "given is fused": any(isinstance(module, torch.nn.Identity) for module in net.modules()),
}))
"""


def export(checkout, config):
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}  # for compare_maps
    result = run_python(["-c", EXPORT, json.dumps(config)], checkout, environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_detector_is_exported(checkout, run):
    assert run()[0] == 0
    head = [[-1, 1, "SPPF", [64]], [-1, 1, "nn.Upsample", ["None", 2, "nearest"]], [[-1, 3], 1, "Concat", [1]]]
    config = {"backbone": [[-1, 1, "EfficientViT_M0", [""]]], "head": [*head, [-1, 1, "Conv", [32]]]}
    seen = export(checkout, config)
    assert seen.pop("error") < 1e-5  # of the fused form, as in its own tests
    assert seen == {"indices": [4, 5, 6, 7, 8], "kept": [3], "imports TensorFlow": False, "given is fused": False}


def test_a_stock_model_is_exported_as_before(checkout, run):
    upsample, c3 = [-1, 1, "nn.Upsample", ["None", 2, "nearest"]], [-1, 1, "C3", [8]]
    config = {"backbone": [upsample, c3], "head": [[[-1, 0], 1, "Concat", [1]]]}
    before = export(checkout, config)
    assert before["indices"] == [0, 1, 2]
    assert run()[0] == 0
    assert export(checkout, config) == before


class Own(Backbone):
    channels, strides = (8,), (8,)


def rows_of(*modules):
    """Return the rows that were handed a PyTorch model of these modules, and what the host takes for the model."""
    model = nn.Module()
    model.model = nn.Sequential(*modules)
    for index, module in enumerate(modules, 4):
        module.i = index
    rows = tensorflow_host.TensorFlowRows(print, image_channels_kept=True)
    return rows, rows.number(model)


def test_layers_are_found_by_their_index():
    modules = [EfficientViT_M0(), nn.Conv2d(1, 1, 1)]
    _, model = rows_of(*modules)
    assert model.model == {4: modules[0], 5: modules[1]}


def test_the_backbone_is_copied_and_its_weights_file_not_asked_for():
    given = EfficientViT_M0()
    given.notes = "412 tensors from m0.pth"
    rows, _ = rows_of(given)
    made = rows.build_backbone(0, 3, "EfficientViT_M0", ["/gone/by/now.pth"])
    assert (made.notes, given.notes) == ("", "412 tensors from m0.pth")
    ours, theirs = made.stem.conv1.conv.weight, given.stem.conv1.conv.weight
    assert torch.equal(ours, theirs)
    assert ours is not theirs


def test_another_backbone_is_refused_by_name():
    rows, _ = rows_of(nn.Identity(), Own())
    with pytest.raises(NotImplementedError, match=r"row 1: Own cannot be exported to TensorFlow .* ONNX or OpenVINO"):
        rows.build_backbone(1, 3, "Own", [])


def test_the_layer_is_the_keras_form_of_the_backbone(monkeypatch):
    """Of a module that imports TensorFlow, which stays out of here. It is made from a fused copy."""
    module = SimpleNamespace(KerasEfficientViT=lambda *parts: ("in Keras", *parts))
    monkeypatch.setitem(sys.modules, "models.backbone.efficientvit.keras_network", module)
    given = EfficientViT_M0(normalize=[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    rows, _ = rows_of(given)
    made, normalization, stem, stages = rows.to_host_layer(given)
    assert made == "in Keras"
    assert not any(isinstance(part, nn.BatchNorm2d) for stage in (stem, *stages) for part in stage.modules())
    image = torch.rand(1, 3, 64, 96)
    maps, x = given.eval()(image), stem(normalization(image))
    for expected, stage in zip(maps, stages):
        x = stage(x)
        assert largest_error(x, expected) < 1e-5
    assert len(maps) == len(stages)
    assert any(isinstance(part, nn.BatchNorm2d) for part in given.modules()), "the backbone itself stays as it is"
