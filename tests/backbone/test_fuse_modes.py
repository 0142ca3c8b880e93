"""Fusing under each of torch's gradient modes: YOLOv5 loads and fuses inside `torch.inference_mode()`."""

import contextlib
import copy
import functools
import io
import logging
import warnings

import pytest
import torch
from torch import nn

from models.backbone.efficientvit.network import VARIANTS
from models.backbone.registry import backbone_class
from tests.backbone.efficientvit.test_network import build
from tests.compare_maps import largest_error

MODES = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode, "neither": contextlib.nullcontext}
OURS = list(VARIANTS)
WITH_BRANCHES = "mobileone_s0"  # which timm merges; a branch of a batch norm alone cannot be folded
# models of timm, and how many batch norms no convolution can take
OF_TIMM = {"test_resnet": 0, "test_byobnet": 0, "test_efficientnet": 0, "mobilenetv3_small_100": 0, "halonet_h1": 19}
OF_TIMM[WITH_BRANCHES] = 0
SMALL = ["EfficientViT_M0", "test_resnet", "test_byobnet"]


def norms_of(model):
    return sum(isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)) for module in model.modules())


@functools.lru_cache(maxsize=None)
def file_of(name):
    """Return a file with the model; finding out how to build one of timm takes longer than loading it."""
    file = io.BytesIO()
    torch.save(built(name), file)
    return file.getvalue()


def make(name):
    return torch.load(io.BytesIO(file_of(name)), weights_only=False)


def built(name):
    if name in OURS:
        return build(name).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of timm's imports
        timm = pytest.importorskip("timm", reason="timm is not installed, and only TimmBackbone rows need it")
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    torch.manual_seed(0)
    return backbone_class("TimmBackbone")(3, name)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # TorchScript is on its way out
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of lists, and of sizes, which test_trace.py is about
@pytest.mark.parametrize("used", MODES)
@pytest.mark.parametrize("loaded", MODES)
@pytest.mark.parametrize("name", SMALL)
def test_every_pair_of_modes(name, loaded, used):
    """Loaded under one, and fused, run, copied and traced under the other."""
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = make(name)(image)
    with MODES[loaded]():
        model = make(name)
    assert norms_of(model) > 10
    with MODES[used]():
        model.fuse()
    assert norms_of(model) == 0
    # torch itself keeps what was loaded in inference mode from any graph of gradients
    with torch.no_grad() if (loaded, used) == ("inference_mode", "neither") else MODES[used]():
        assert largest_error(model(image), expected) <= 1e-5
        assert largest_error(copy.deepcopy(model)(image), expected) <= 1e-5
        if loaded == used:
            traced = torch.jit.trace(model, image, strict=False, check_trace=False)
            assert largest_error(traced(image), expected) <= 1e-5


@pytest.mark.parametrize("name", [*OURS[1:], *OF_TIMM])
def test_as_yolov5_does_it(name):
    file_of(name)  # is made outside
    with torch.inference_mode():
        model = make(name)
        image = torch.rand(1, 3, model.sizes.smallest if name in OF_TIMM else 64, 256)
        expected, before = model(image), norms_of(model)
        assert largest_error(model.fuse()(image), expected) <= 1e-5
    assert norms_of(model) == OF_TIMM.get(name, 0) < before


@pytest.mark.parametrize("name", [*SMALL, WITH_BRANCHES])
def test_fused_inside_inference_mode_and_used_with_gradients(name):
    model = make(name)
    with torch.inference_mode():
        model.fuse()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    sum(feature_map.sum() for feature_map in model(image)).backward()
    assert image.grad.abs().sum() > 0


def test_a_model_of_which_nothing_can_be_folded_says_so_once(caplog):
    make("test_resnet")  # skips without timm
    model = backbone_class("TimmBackbone")(3, "convmixer_768_32", False, [7])
    with caplog.at_level(logging.WARNING):
        model.fuse().fuse()
    assert [record.message for record in caplog.records] == [
        "TimmBackbone: none of the 65 batch norms of convmixer_768_32 could be folded into a convolution. They stay; "
        "the results are right."
    ]


def test_a_model_that_is_folded_says_nothing(caplog):
    model = make("halonet_h1")  # of which a part can be folded
    with caplog.at_level(logging.WARNING):
        model.fuse()
    assert caplog.records == []


def test_hooks_do_not_stay_when_the_trial_fails():
    model = make("test_resnet")
    state, stem = copy.deepcopy(model.state_dict()), model.net.conv1
    model.net.conv1 = nn.Conv2d(1, 1, 3)  # takes no image of three channels
    with pytest.raises(RuntimeError, match="channels"):
        model.fuse()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    model.net.conv1 = stem
    model.load_state_dict(state)
    assert norms_of(model.fuse()) == 0
