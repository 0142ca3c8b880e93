"""What CONTRIBUTING.md calls public is as in version 1.0.0; a change here breaks what users have."""

import ast
import inspect
import io
import json
import pickletools
import re
import zipfile

import pytest
import torch

import apply_patch
from models.backbone import yolo
from models.backbone.efficientvit.network import VARIANTS
from models.backbone.registry import backbone_class
from models.backbone.yolo import keras_rows
from tests import REPOSITORY

# ---- What inserted lines call, with how many arguments, where they are given without names
CALLS = {
    yolo: {
        "BackboneRows": 1,
        "begin_epoch": 3,
        "fit_backbones": 3,
        "forget_weights": 1,
        "fuse_backbones": 1,
        "train_whole_backbones": 3,
        "unpack_maps": 4,
        "warn_of_cut_neck": 3,
        "warn_of_frozen_neck": 2,
    },
    keras_rows: {"TensorFlowRows": 1, "unpack_maps": 4},
}
CLASSES = {yolo: {"Backbone"}, keras_rows: {"KerasBackbone"}}  # which the lines compare with
METHODS = {"build": 8, "is_backbone": 1, "layer_index": 5, "number": 1}  # of the rows


@pytest.mark.parametrize("module", CALLS, ids=lambda module: module.__name__)
def test_inserted_lines_can_call_what_they_name(module):
    for name, count in CALLS[module].items():
        inspect.signature(getattr(module, name)).bind(*range(count))
    for name in CLASSES[module]:
        assert isinstance(getattr(module, name), type)
    rows = getattr(module, "TensorFlowRows", None) or module.BackboneRows
    for name, count in METHODS.items():
        if name != "number" or module is keras_rows:
            inspect.signature(getattr(rows, name)).bind(None, *range(count))


def test_inserted_lines_name_nothing_else(checkout, run):
    assert run()[0] == 0
    found = {yolo: set(), keras_rows: set(), "rows": set()}
    for name in ("train.py", "models/yolo.py", "models/tf.py"):
        tree = ast.parse((checkout / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = {"backbone_host": keras_rows if name == "models/tf.py" else yolo, "backbone_rows": "rows"}
                if node.value.id in owner:
                    found[owner[node.value.id]].add(node.attr)
    assert found["rows"] == METHODS.keys()
    for module, calls in CALLS.items():
        assert found[module]
        assert found[module] <= calls.keys() | CLASSES[module]


# ---- Rows of a yaml
ARGUMENTS = {
    "EfficientViT_M0": "weights frozen_stages stem_stride normalize query_kernels frozen_epochs",
    "TimmBackbone": "model_name weights strides image_size normalize frozen_stages options frozen_epochs",
}
YAMLS = [f"yolov5-efficientvit{variant}" for variant in ("", "-m1", "-m2", "-m3", "-m4", "-m5")]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_a_row_keep_their_order(name):
    if name == "TimmBackbone":
        pytest.importorskip("timm")
    names = [*inspect.signature(backbone_class(name)).parameters][1:]
    assert names[: len(ARGUMENTS[name].split())] == ARGUMENTS[name].split()


def test_the_yamls_keep_their_names():
    names = [f"{name}.yaml" for name in [*YAMLS, "yolov5-timm", "yolov5-timm-p2", "yolov5-timm-p6"]]
    names += [f"segment/{name}-seg.yaml" for name in YAMLS]
    assert [name for name in names if not (REPOSITORY / "models" / name).is_file()] == []


# ---- What a `.pt` refers to
OF_EACH = {"frozen.freeze_again", "normalization.Normalization"}
OF_EFFICIENTVIT = {
    *OF_EACH,
    "batch_norm.BatchNorm2d",
    "efficientvit.attention.CascadedGroupAttention",
    "efficientvit.layers.ConvBN",
    "efficientvit.layers.FeedForward",
    "efficientvit.layers.PatchMerging",
    "efficientvit.layers.ResidualDepthwise",
    "efficientvit.layers.SqueezeExcite",
    "efficientvit.network.Block",
    "efficientvit.network.Downsample",
    "efficientvit.network.Stage",
    "efficientvit.network.Stem",
}
OF_TIMM = {*OF_EACH, "timm_backbone.network.TimmBackbone", "timm_backbone.sizes.SizeRule"}
MODELS_OF_TIMM = {  # and what is put in the place of layers of theirs
    "resnet18": {"batch_norm.BatchNorm2d", "timm_backbone.adapt.ReLU"},
    "mobilevit_xxs": {"timm_backbone.adapt.SiLU"},
    "convnext_atto": set(),
}
CONV_BN = ("bn.bias", "bn.num_batches_tracked", "bn.running_mean", "bn.running_var", "bn.weight", "conv.weight")
CONVOLUTIONS = """
    stem.conv#
    stages.#.blocks.#.attention.project stages.#.blocks.#.attention.qkv.# stages.#.blocks.#.attention.query_depthwise.#
    stages.#.blocks.#.depthwise# stages.#.blocks.#.feed_forward#.expand stages.#.blocks.#.feed_forward#.project
    stages.#.downsample.depthwise# stages.#.downsample.feed_forward#.expand stages.#.downsample.feed_forward#.project
    stages.#.downsample.merging.expand stages.#.downsample.merging.depthwise stages.#.downsample.merging.project
"""


def named_in(model):
    """Return what of this package a file names with the model in it, below `models.backbone`."""
    file = io.BytesIO()
    torch.save(model, file)
    with zipfile.ZipFile(file) as archive:
        (pickled,) = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    named = [argument for opcode, argument, _ in pickletools.genops(pickled) if opcode.name == "GLOBAL"]
    prefix = "models.backbone."
    return {name.replace(" ", ".")[len(prefix) :] for name in named if name.startswith(prefix)}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_file_with_efficientvit_names_the_same_classes_and_tensors(name):
    model = backbone_class(name)(3)
    assert named_in(model) == {*OF_EFFICIENTVIT, f"efficientvit.network.{name}"}
    tensors = {f"{name}.{part}" for name in CONVOLUTIONS.split() for part in CONV_BN}
    tensors |= {"normalization.mean", "normalization.std", "stages.#.blocks.#.attention.bias"}
    squeeze_excite = "stages.#.downsample.merging.squeeze_excite"
    tensors |= {f"{squeeze_excite}.{part}.{kind}" for part in ("expand", "reduce") for kind in ("bias", "weight")}
    assert {re.sub(r"\d+", "#", name) for name in model.state_dict()} == tensors


@pytest.mark.parametrize("name", MODELS_OF_TIMM)
def test_a_file_with_a_model_of_timm_names_the_same_classes(name):
    pytest.importorskip("timm")
    assert named_in(backbone_class("TimmBackbone")(3, name)) == OF_TIMM | MODELS_OF_TIMM[name]


# ---- Commands
OPTIONS = "--check --diff --force --json --revert --verbose --verify --version"
KEYS = """
    mode checkout project version exit_code changes kept lost remaining notes is_original diff next_command revert_command
    verified error
"""


def test_the_options_are_there(capsys):
    with pytest.raises(SystemExit):
        apply_patch.main(["--help"])
    assert set(OPTIONS.split()) <= set(re.findall(r"--\w+", capsys.readouterr().out))


def test_the_keys_of_json_are_there(run):
    assert set(KEYS.split()) <= json.loads(run("--check", "--json")[1]).keys()
