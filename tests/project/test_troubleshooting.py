"""The errors in docs/troubleshooting.md read as they do there: each is brought about again, but for the slow ones."""

import pickle
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from models.backbone.registry import backbone_class
from models.backbone.yolo.rows import BackboneRows
from patches.install.lock import locked
from tests import REPOSITORY
from tests.patches.install.test_refusals import PATCHED, UNPATCHED, edit

PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
M0 = backbone_class("EfficientViT_M0")

# Brought about by hand in a checkout of v7.0, with the command in the text; a test would need a whole training run.
BY_HAND = {
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate ...",  # on a GPU; the text is in torch's library, below
    "Shape mismatch attempting to re-use buffer. {1,3,14,14,2} != {2,3,14,14,2}.",
    "AssertionError: File not found: yolov5-efficientvit-m9.yaml",
    "_pickle.UnpicklingError: Weights only load failed.",  # test_training.py runs in an environment that has the cure
    "KeyError: 'opt'",
    "--img-size 100 must be multiple of max stride 32, updating to 128",
    "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>",
    "WARNING yaml row ... reads two maps of one stride",  # test_rows.py
    # test_trace.py
    "the exported file takes images of 128x192 pixels only: mobilevit_xxs's own code fixes that when it is traced",
    "would be installed over itself",  # test_there_before.py
    "WARNING EfficientViT_M0: ... tensors do not come from the checkpoint",  # test_transfer.py
    "WARNING --freeze counts modules, and EfficientViT_M0 is one of them: ...",  # test_training.py
    "WARNING --cutoff counts modules, and EfficientViT_M0 is one of them: ...",  # test_hosts.py
}


def rows(row, source, name, args=()):
    """Ask for one row of a yaml whose first row is a backbone, and the second SPPF."""
    host, save, layers = BackboneRows(lambda line: None), [], []
    channels = host.build(0, -1, 1, "EfficientViT_M0", [], [3], save, layers)
    for number, kind in enumerate(("SPPF", "Conv", "nn.Upsample"), 1):
        host.layer_index(number, -1, kind, [None, 2] if kind == "nn.Upsample" else [1024, 5], channels)
        channels = [*channels, 256]
    host.layer_index(row, source, name, list(args), channels)


def first_row(name, args, repeats=1):
    host = BackboneRows(lambda line: None)
    host.layer_index(0, -1, name, args, [3])
    host.build(0, -1, repeats, name, args, [3], [], [])


def twice(state):
    """Let a state dict hold its network twice."""
    for key in list(state):
        state[f"left.{key}"] = state[f"right.{key}"] = state.pop(key)


def weights(tmp_path, alter=lambda state: None, name="EfficientViT_M0"):
    state = M0().state_dict()
    alter(state)
    torch.save(state, tmp_path / "weights.pth")
    backbone_class(name)(weights=str(tmp_path / "weights.pth"))


def web_page(tmp_path):
    (tmp_path / "weights.pth").write_text("<!doctype html>")
    M0(weights=str(tmp_path / "weights.pth"))


def unpickle_of_elsewhere(module_exists):
    """Load a pickle that names a class of pasted code, with and without a module of that name."""
    module = types.ModuleType("models.efficientViT")
    module.EfficientViT = type("EfficientViT", (nn.Module,), {"__module__": module.__name__})
    sys.modules[module.__name__] = module
    try:
        data = pickle.dumps(module.EfficientViT())
        if module_exists:
            del module.EfficientViT
        else:
            del sys.modules[module.__name__]
        pickle.loads(data)
    finally:
        sys.modules.pop(module.__name__, None)


def half_and_float(first, second):
    torch.bmm(torch.zeros(1, 2, 2, dtype=first), torch.zeros(1, 2, 2, dtype=second))


def a_neck_at(size):
    """Join the upsampled map of stride 32 with that of stride 16, as every neck does."""
    maps = M0()(torch.rand(1, 3, size, size))
    torch.cat([nn.Upsample(scale_factor=2)(maps[2]), maps[1]], 1)


def timm_model(name, image_size):
    return backbone_class("TimmBackbone")(3, name, False, [8, 16, 32], image_size)


def timm_is_missing(action):
    installed = {name: module for name, module in sys.modules.items() if re.match(r"timm\b|models.backbone.timm", name)}
    for name in installed:
        del sys.modules[name]
    sys.modules["timm"] = None
    try:
        action()
    finally:
        del sys.modules["timm"]
        sys.modules.update(installed)


def import_in_isolation(statement):
    done = subprocess.run([sys.executable, "-I", "-S", "-c", statement], capture_output=True, text=True)
    raise AssertionError(done.stderr)


TRIED = {
    "yaml row ... joins maps of stride ...": lambda _: rows(4, [-1, 4], "Concat", [1]),
    "yaml row ... holds no feature map": lambda _: rows(4, [-1, 0], "Concat", [1]),
    "yaml row ... is not one of the layers before ...": lambda _: rows(4, [-1, 25], "Concat", [1]),
    "yaml row 0: there is no efficientvit_m0; the backbones are ...": lambda _: first_row("efficientvit_m0", []),
    "its args are [weights, frozen_stages, ...], ..., not ...": lambda _: first_row(
        "EfficientViT_M0", ["", 0, 8, True, None, 0, 1]
    ),
    "EfficientViT_M0: stem_stride must be 8 or 16, not False": lambda _: first_row("EfficientViT_M0", ["", 0, False]),
    "a backbone cannot be repeated; change its second entry from 3 to 1": lambda _: first_row("EfficientViT_M0", [], 3),
    "ImportError: a TimmBackbone row needs the package timm: pip install timm": lambda _: timm_is_missing(
        lambda: first_row("TimmBackbone", ["resnet18"])
    ),
    "ModuleNotFoundError: No module named 'timm'": lambda _: import_in_isolation("import timm"),
    "Sizes of tensors must match except in dimension 1. Expected size 8 but got size 7 for tensor number 1 in the "
    "list.": lambda _: a_neck_at(100),
    "Given groups=1, weight of size [8, 3, 3, 3], expected input[1, 4, 64, 64] to have 3 channels, but got 4 channels "
    "instead": lambda _: M0()(torch.rand(1, 4, 64, 64)),
    "AttributeError: 'list' object has no attribute 'shape'": lambda _: M0()(torch.rand(1, 3, 64, 64)).shape,
    "conv2d() received an invalid combination of arguments - got (list, ...": lambda _: nn.Sequential(
        M0(), nn.Conv2d(192, 8, 1)
    )(torch.rand(1, 3, 64, 64)),
    # a map of 4x4 cells, and a table for windows of 7x7
    "The size of tensor a (16) must match the size of tensor b (49) at non-singleton dimension 2": lambda _: (
        torch.rand(1, 16, 16) + torch.rand(49, 49)
    ),
    "Expected more than 1 value per channel when training, got input size torch.Size([1, 512, 1, 1])": lambda _: M0()(
        torch.rand(1, 3, 32, 32)
    ),
    "expected scalar type Half but found Float": lambda _: half_and_float(torch.float16, torch.float32),
    "expected scalar type Float but found Half": lambda _: half_and_float(torch.float32, torch.float16),
    "expected m1 and m2 to have the same dtype, but got: ...": lambda _: torch.rand(2, 2).half() @ torch.rand(2, 2),
    "is built for images up to 256 pixels, this one has 32x288": lambda _: timm_model("efficientformerv2_s0", 64)(
        torch.rand(1, 3, 32, 288)
    ),
    "takes images of one size only ... YOLOv5 needs 672: it tries every model on an image of 256 pixels": lambda _: (
        timm_model("efficientformer_l1", None)
    ),
    "holds several backbones, ...; save the wanted one alone": lambda path: weights(path, twice),
    "EfficientViT_M0: normalize cannot be ...; write True for those of the weights, False for none, or ...": lambda _: (
        first_row("EfficientViT_M0", [{"normalize": 1}])
    ),
    "the weights file gone.pth does not exist, seen from ...": lambda _: M0(weights="gone.pth"),
    "the weights in ... are not those of EfficientViT_M0: 1 missing: ...": lambda path: weights(
        path, lambda state: state.pop("stem.conv1.bn.weight")
    ),
    "holds the weights of EfficientViT_M0; name EfficientViT_M0 in the yaml row, or give a checkpoint of "
    "EfficientViT_M1": lambda path: weights(path, name="EfficientViT_M1"),
    "holds the EfficientViT of MIT (arXiv 2205.14756), another network of the same name": lambda path: weights(
        path, lambda state: (state.clear(), state.update({"stages.0.op_list.0.weight": torch.rand(1)}))
    ),
    "is an HTML or XML page, as is saved when a download link leads to a web page; fetch the file itself": web_page,
    "ModuleNotFoundError: No module named 'models.efficientViT'": lambda _: unpickle_of_elsewhere(False),
    "AttributeError: Can't get attribute 'EfficientViT' on <module ...": lambda _: unpickle_of_elsewhere(True),
    "ModuleNotFoundError: No module named 'models'": lambda _: import_in_isolation("import models.backbone"),
    "AttributeError: module 'numpy' has no attribute 'int'": lambda _: getattr(np, "int"),  # noqa: B009
    "result type Float can't be cast to the desired output type ...": lambda _: (
        torch.zeros(1).long().clamp_(0, torch.tensor(3.0))
    ),
}

OF_AN_UNPATCHED_CHECKOUT = {
    "belongs to a hand-made patch for backbones of several maps, and two such patches do not go together": (
        "hand-made patch"
    ),
    "holds no models/yolo.py, so it is not a YOLOv5 checkout": "no models/yolo.py",
    "so this is not a file of YOLOv5 or a relative that the patch understands": "no anchors",
    "exists and is not what this patch installs: it is yours": "foreign file",
    "exists already. It is the same as in this project, but no record says that this patch installed it": "copied by hand",
    "is of another project, and our package models/backbone would take its place": "foreign package",
    "this is a conflict marker": "conflict markers",
}
OF_A_PATCHED_CHECKOUT = {
    "because lines of your own depend on them": lambda root: edit(
        root / "models/yolo.py",
        "results, self.kept)\n",
        "results, self.kept)\n            else:\n                pass\n",
    ),
    "is a link, and a folder of our package has this place": lambda root: (
        (root / "models/backbone/yolo").rename(root / "elsewhere"),
        (root / "models/backbone/yolo").symlink_to(root / "elsewhere"),
    ),
    "would be hidden by our folder": lambda root: (root / "models/backbone/yolo.py").write_text("# mine\n"),
    "inserted them, as far as can be told": PATCHED["edited line"][0],
    "uses a name of the patch, ... but the patch did not insert this line": (
        PATCHED["line of the user's that uses our name"][0]
    ),
    "exists and is not what was installed: you have edited it": lambda root: (
        root / "models/backbone/yolo/rows.py"
    ).write_text("# mine\n"),
}
OF_A_HOST = {
    "NameError: name 'EfficientViT_M0' is not defined",
    "ModuleNotFoundError: No module named 'models.backbone'",
    "KeyError: 'anchors'",
    # test_elsewhere.py and, of SAHI, test_sahi.py
    "ModuleNotFoundError: No module named 'yolov5.models.backbone'",
    "ModuleNotFoundError: No module named 'yolov5'",
    "Exception: No module named 'models.backbone'. Cache may be out of date, ...",
    "TypeError: ('model_path is not a valid yolov5 model path: ', ModuleNotFoundError(...",
}
OF_A_TRAINING = {  # test_troubled_training.py
    "AssertionError: train: No labels found in ..., can not start training.",
    "AssertionError: Label class 4 exceeds nc=4 in ... Possible class labels are 0-3",
    "Dataset not found ⚠️, missing paths [...]",
    "train.py: error: argument --weights: expected one argument",
}
OF_TWO_RUNS = "another apply_patch.py is at work on ..."


def matches(heading, text):
    return re.search(".*?".join(map(re.escape, heading.split("..."))), text, re.DOTALL)


def test_every_heading_is_tried_once():
    groups = (TRIED, OF_AN_UNPATCHED_CHECKOUT, OF_A_PATCHED_CHECKOUT, OF_A_HOST, OF_A_TRAINING, BY_HAND, {OF_TWO_RUNS})
    assert sorted(HEADINGS) == sorted(heading for group in groups for heading in group)


@pytest.mark.parametrize("heading", TRIED)
def test_the_error_reads_so(heading, tmp_path):
    if torch.__version__ < "2" or hasattr(np, "int"):
        pytest.skip("the texts are those of torch 2 and NumPy 1.24")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the text is what this is about
        TRIED[heading](tmp_path)
    assert matches(heading, f"{caught.type.__name__}: {caught.value}")


@pytest.mark.parametrize("heading", [*OF_AN_UNPATCHED_CHECKOUT, *OF_A_PATCHED_CHECKOUT])
def test_the_refusal_reads_so(heading, checkout, run):
    if heading in OF_A_PATCHED_CHECKOUT:
        assert run()[0] == 0
        OF_A_PATCHED_CHECKOUT[heading](checkout)
    else:
        UNPATCHED[OF_AN_UNPATCHED_CHECKOUT[heading]][0](checkout)
    code, _, err = run()
    assert code == 2
    assert matches(heading, err)


def test_torch_says_so_when_a_gpu_is_full():
    library = Path(torch.__file__).parent / "lib" / "libc10_cuda.so"
    if not library.is_file():
        pytest.skip("this torch has no CUDA")
    assert b"CUDA out of memory. Tried to allocate " in library.read_bytes()
    assert hasattr(torch, "OutOfMemoryError")


def test_the_refusal_of_a_second_run_reads_so(checkout, run):
    with locked(checkout):
        assert matches(OF_TWO_RUNS, run()[2])


def error_of(host, script, *arguments):
    done = host.python("-c", script, host.prefix, *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr.splitlines()[-1]


BUILD = "import importlib, sys; importlib.import_module(sys.argv[1] + 'models.yolo').Model(sys.argv[2])"
OPEN = "import importlib, sys, torch; importlib.import_module(sys.argv[1] + 'models.yolo'); torch.load(sys.argv[2])"


def test_what_a_checkout_says_without_the_patch(stock, patched, tmp_path):
    ours = patched.root / "models" / "yolov5-efficientvit.yaml"
    assert error_of(stock, BUILD, ours).startswith("NameError: name 'EfficientViT_M0' is not defined")


def test_what_a_checkout_says_of_a_yaml_without_anchors(patched, tmp_path):
    config = yaml.safe_load((patched.root / "models" / "yolov5-efficientvit.yaml").read_text(encoding="utf-8"))
    del config["anchors"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    assert error_of(patched, BUILD, tmp_path / "own.yaml") == "KeyError: 'anchors'"


def test_what_a_checkout_says_of_a_checkpoint_from_a_patched_one(stock, patched, tmp_path):
    script = (
        "import importlib, sys, torch\n"
        "model = importlib.import_module(sys.argv[1] + 'models.backbone.efficientvit.network').EfficientViT_M0()\n"
        "torch.save(model, sys.argv[2])"
    )
    patched.python("-c", script, patched.prefix, tmp_path / "model.pt").check_returncode()
    error = error_of(stock, OPEN, tmp_path / "model.pt")
    assert error == f"ModuleNotFoundError: No module named '{patched.prefix}models.backbone'"
