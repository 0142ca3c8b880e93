"""Models of timm as backbones: twelve of them through everything, then each rule of the row on the smallest."""

import copy
import pickle
import re
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of timm's imports
    timm = pytest.importorskip("timm", reason="timm is not installed, and only TimmBackbone rows need it")

from models.backbone.registry import backbone_class
from models.backbone.timm_backbone.plan import make_plan, maps_of
from tests import REPOSITORY
from tests.compare_maps import assert_same, largest_error

TimmBackbone = backbone_class("TimmBackbone")

# model: what it stands for, and the image sizes it takes
SAMPLE = {
    "test_resnet": ("convolutions", (32, 32, 0)),
    "resnest14d": ("batch norms of pooled maps, which one image cannot train", (32, 32, 0)),
    "inception_v3": ("convolutions without padding", (32, 96, 0)),
    "hrnet_w18_small": ("layers that no asked map depends on", (32, 32, 0)),
    "test_byobnet": ("branches to merge", (32, 32, 0)),
    "lcnet_035": ("mobile", (32, 32, 0)),
    "test_convnext": ("layer norm and layer scale", (32, 32, 0)),
    "test_mambaout": ("maps in NHWC", (32, 32, 0)),
    "swin_tiny_patch4_window7_224": ("window attention, maps in NHWC", (32, 32, 0)),
    "mobilevit_xxs": ("convolutions and global attention", (32, 32, 0)),
    "efficientformerv2_s0": ("one image size, and attention biases that it caches", (256, 256, 256)),
    "halonet_h1": ("blocks of attention that must tile the map", (256, 256, 0)),
}
NORMS_LEFT = {"halonet_h1": 19, "hrnet_w18_small": 7}  # after attention; and where no asked map depends on them
SMALL = "test_resnet"
ONE_SIZE = "efficientformerv2_s0"
IMAGE_SIZE = 128  # of the row of a model of one size


def images(count, size, seed=0):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def as_the_host_does(model):
    """YOLOv5's rewriting of layers by their exact type, and its search for the strides."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.eps, module.momentum = 1e-3, 0.03
        elif type(module) in (nn.Hardswish, nn.LeakyReLU, nn.ReLU, nn.ReLU6, nn.SiLU):
            module.inplace = True
    model(torch.zeros(1, 3, 128, 128))
    return model


def build(name, **options):
    torch.manual_seed(0)
    size = IMAGE_SIZE if name == ONE_SIZE else None
    return as_the_host_does(TimmBackbone(3, name, image_size=size, **options))


def moved(model):
    """A copy whose every number is another, as after an epoch, and in which every branch counts."""
    other = copy.deepcopy(model)
    state = torch.Generator().manual_seed(1)
    for name, value in other.state_dict().items():
        if value.is_floating_point():
            small = value.dim() < 2  # the others sum many products, which must not grow from layer to layer
            draw, size = (torch.rand, 0.1) if small else (torch.randn, 0.01)
            change = size * draw(value.shape, generator=state)
            value.copy_(change + (1.0 if name.endswith("running_var") else value))
    return other


@pytest.fixture(scope="module", params=SAMPLE)
def backbone(request):
    if not timm.is_model(request.param):
        pytest.skip(f"timm {timm.__version__} has no {request.param}")
    return build(request.param)


def test_image_sizes(backbone):
    assert tuple(backbone.sizes) == SAMPLE[backbone.model_name][1]


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (101, 75), (128, 128)], ids=str)
def test_maps_are_as_declared(backbone, size):
    with torch.no_grad():
        maps = backbone(images(1, size))
    expected = [(1, c, -(-size[0] // s), -(-size[1] // s)) for c, s in zip(backbone.channels, backbone.strides)]
    assert [tuple(feature_map.shape) for feature_map in maps] == expected


def test_features_are_those_of_timm(backbone):
    """Also after the host's rewriting: to the bit, since it is the same arithmetic."""
    plan = make_plan(backbone.model_name, 3, backbone.strides, IMAGE_SIZE if backbone.sizes.largest else None)
    reference = timm.create_model(backbone.model_name, **plan.options).eval()
    reference.load_state_dict(backbone.net.state_dict(), strict=False)  # without what no map depends on
    image = images(1, (plan.sizes.smallest, plan.sizes.smallest))
    with torch.no_grad():
        net = copy.deepcopy(backbone).net  # run by itself, it may keep a cache of biases
        assert_same(maps_of(net, image), maps_of(reference, image))


def test_every_parameter_gets_a_gradient(backbone):
    model = copy.deepcopy(backbone).train()
    torch.stack([feature_map.square().mean() for feature_map in model(images(2, (64, 64)))]).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_a_copy_follows_its_own_numbers(backbone):
    """The host's moving average: copied after a forward pass, then every number is replaced in place."""
    average, fresh = moved(backbone), build(backbone.model_name)
    fresh.load_state_dict(average.state_dict())
    image = images(1, (64, 64))
    with torch.no_grad():
        assert_same(average(image), fresh(image))


def test_saved_whole_and_loaded(backbone):
    reloaded = pickle.loads(pickle.dumps(backbone))
    image = images(1, (64, 64))
    with torch.no_grad():
        assert_same(reloaded(image), backbone(image))


def test_pickled_before_it_was_known_whether_maps_lack_cells(backbone):
    older = copy.deepcopy(backbone)
    del older.needs_border_padding
    image = images(1, (64, 64))
    with torch.no_grad():
        assert_same(pickle.loads(pickle.dumps(older))(image), backbone(image))


def test_lower_precision(backbone):
    lower = copy.deepcopy(backbone).bfloat16()
    with torch.no_grad():
        maps = lower(images(1, (64, 64)).bfloat16())
    assert [(m.dtype, bool(m.isfinite().all())) for m in maps] == [(torch.bfloat16, True)] * 3


def test_fuse(backbone):
    model, image = moved(backbone), images(1, (64, 96))
    with torch.no_grad():
        expected = model(image)
        fused = model.fuse()(image)
        assert largest_error(fused, expected) < 1e-5  # of float32, over dozens of layers
        assert model.fuse() is model
        assert_same(model(image), fused)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert left == NORMS_LEFT.get(backbone.model_name, 0)


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_fuse_keeps_the_mode(mode):
    assert {module.training for module in build(SMALL).train(mode).fuse().net.modules() if list(module.children())} == {
        mode
    }


def test_it_starts_in_eval_mode_and_trains_on_request():
    model = build(SMALL)
    assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.train().modules())


def test_channels_of_the_image():
    with torch.no_grad():
        assert TimmBackbone(6, SMALL)(torch.rand(1, 6, 64, 64))[0].shape[1] == TimmBackbone(3, SMALL).channels[0]


@pytest.mark.parametrize("strides", [[8], [4, 8], [2, 32], [2, 4, 8, 16, 32]], ids=str)
def test_strides(strides):
    model = TimmBackbone(3, SMALL, False, strides)
    assert model.strides == tuple(strides)
    assert [m.shape[2] for m in model(images(1, (64, 64)))] == [64 // stride for stride in strides]
    everything = sum(p.numel() for p in TimmBackbone(3, SMALL).parameters())
    assert (sum(p.numel() for p in model.parameters()) < everything) == (max(strides) < 32)


def test_of_levels_that_share_a_stride_the_deepest_is_taken():
    model = TimmBackbone(3, "test_vit", False, [16])
    assert make_plan("test_vit", 3, [16]).options["out_indices"] == (len(model.net.model.blocks) - 1,)


def test_deeper_layers_that_run_anyway_are_no_parameters():
    """timm's features of an EfficientNet compute every stage, whichever is asked for."""
    model = TimmBackbone(3, "test_efficientnet", False, [8, 16]).train()
    torch.stack([m.mean() for m in model(images(2, (64, 64)))]).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["convnext_tinny"], r"no model 'convnext_tinny'; the nearest names are convnext_tiny"),
        (["qqqqqq"], r"no model 'qqqqqq'; timm.list_models\(\) lists them all"),
        (["test_vit"], "test_vit gives no map of stride 8, 32; its strides are 16"),
        ([SMALL, False, [8, 64]], f"{SMALL} gives no map of stride 64; its strides are 2, 4, 8, 16, 32"),
        (
            ["efficientformer_l1"],
            "takes images of one size only .* does not build it for 672 pixels .*; choose another",
        ),
        (["efficientformer_l1", False, [8, 16, 32], 192], "YOLOv5 needs 256: it tries every model on an image of 256"),
        ([SMALL, "no/such/file.pth"], "no/such/file.pth does not exist"),
        ([SMALL, 1], "weights must be False, True or the path of a file, not 1"),
        ([SMALL, False, 8], r"strides must be ascending integers such as \[8, 16, 32\], not 8"),
        ([SMALL, False, [16, 8]], "strides must be ascending"),
        ([SMALL, False, []], "strides must be ascending"),
        ([SMALL, False, [8], "640"], "image_size must be a number of pixels, not '640'"),
        ([18], "first argument is the name of a timm model, not 18"),
    ],
    ids=lambda value: str(value) if isinstance(value, list) else "",
)
def test_a_row_that_cannot_be_is_refused(args, message):
    with pytest.raises(ValueError, match=message):
        TimmBackbone(3, *args)


def test_a_model_is_built_for_the_size_of_the_row():
    """Here a table of attention biases grows with the windows; the model takes any size all the same."""
    tables = {
        size: {n: p.shape for n, p in TimmBackbone(3, "efficientvit_m0", False, [64], size).named_parameters()}
        for size in (None, 448)
    }
    differing = {name for name, shape in tables[None].items() if tables[448][name] != shape}
    assert differing
    assert all(name.endswith("attention_biases") for name in differing)
    assert TimmBackbone(3, "efficientvit_m0", False, [64], 448).sizes.largest == 0


def test_images_beyond_the_one_size_of_a_model_are_refused_with_advice_that_helps():
    larger = images(1, (32, 288))
    with pytest.raises(ValueError, match="built for images up to 256 pixels, this one has 32x288") as refused:
        TimmBackbone(3, ONE_SIZE, image_size=64)(larger)
    advised = re.search(r"image_size, .*, set to (\d+)", str(refused.value))
    assert len(TimmBackbone(3, ONE_SIZE, image_size=int(advised[1]))(larger)) == 3


def test_synced_batch_norms_keep_their_activations():
    """YOLOv5's --sync-bn converts the model in a way that timm's norms with an activation do not survive alone."""
    model, image = TimmBackbone(3, "test_efficientnet"), images(1, (64, 64))
    bare = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model.net))
    with torch.no_grad():
        expected = model(image)
        assert largest_error(maps_of(bare, image), expected) > 0.1
        for synced in (model, nn.Sequential(copy.deepcopy(model))):
            synced = nn.SyncBatchNorm.convert_sync_batchnorm(synced)
            assert any(isinstance(module, nn.SyncBatchNorm) for module in synced.modules())
            assert_same(synced(image), expected)
            assert_same(synced.train().eval()(image), expected)


def python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)


def test_timm_is_imported_only_when_a_row_asks_for_it():
    code = (
        "import sys; from models.backbone import yolo; from models.backbone.efficientvit import network; yolo.BackboneRows(print).is_backbone('TimmBackbone')"
        "; assert 'timm' not in sys.modules; from models.backbone.registry import backbone_class"
        "; backbone_class('TimmBackbone'); assert 'timm' in sys.modules"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_missing_timm_is_reported():
    done = python(
        "import sys; sys.modules['timm'] = None; from models.backbone.registry import backbone_class"
        "; backbone_class('TimmBackbone')"
    )
    assert "ImportError: a TimmBackbone row needs the package timm: pip install timm" in done.stderr
