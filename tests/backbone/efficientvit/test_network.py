"""The six backbones as modules: shapes, arguments, precisions, copies, freezing, fusing."""

import copy
import io

import pytest
import torch
from torch import nn

from models.backbone.efficientvit.layers import ConvBN
from models.backbone.efficientvit.network import VARIANTS
from models.backbone.registry import backbone_class
from tests.compare_maps import assert_same, largest_error

SIZES = [(32, 32), (64, 64), (96, 96), (160, 160), (192, 32), (224, 640), (333, 517), (640, 640)]


def build(name="EfficientViT_M0", seed=0, **options):
    """Build a backbone whose every tensor matters: no residual branch starts as nothing."""
    torch.manual_seed(seed)
    backbone = backbone_class(name)(**options)
    randomise(backbone)
    return backbone


def randomise(backbone):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in [*backbone.named_parameters(), *backbone.named_buffers()]:
            if name.endswith(("bn.weight", "running_var")):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(("bn.bias", "running_mean", "attention.bias")):
                value.normal_(0, 0.2, generator=generator)


@pytest.fixture(params=VARIANTS)
def name(request):
    return request.param


def test_declared_channels_and_strides_are_the_real_ones(name):
    backbone = build(name).eval()
    maps = backbone(torch.rand(1, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 64 // s, 96 // s) for c, s in zip(backbone.channels, backbone.strides)
    ]
    assert backbone.strides == (8, 16, 32)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_any_size(size, batch):
    backbone = build().eval()
    with torch.no_grad():
        maps = backbone(torch.rand(batch, 3, *size))
    for found, channels, stride in zip(maps, backbone.channels, backbone.strides):
        assert found.shape == (batch, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert found.isfinite().all()


def test_images_of_a_batch_do_not_mix():
    backbone = build().eval()
    images = torch.rand(3, 3, 96, 160)
    with torch.no_grad():
        alone = [torch.cat(maps) for maps in zip(*(backbone(image[None]) for image in images))]
        assert largest_error(backbone(images), alone) < 1e-5


@pytest.mark.parametrize("in_channels", [1, 4, 6])
def test_any_number_of_input_channels(in_channels):
    backbone = build(in_channels=in_channels)
    assert next(backbone.parameters()).shape[1] == in_channels  # YOLOv5 reads the image's channels off this one
    assert backbone(torch.rand(2, in_channels, 64, 64))[0].shape == (2, 64, 8, 8)


def test_stem_stride_16():
    backbone = build(stem_stride=16).eval()
    assert backbone.strides == (16, 32, 64)
    assert [m.shape[-1] for m in backbone(torch.rand(1, 3, 128, 128))] == [8, 4, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frozen_stages": 5}, "frozen_stages must be 0 to 4, not 5"),
        ({"frozen_stages": True}, "frozen_stages must be 0 to 4, not True"),
        ({"frozen_stages": "2"}, "frozen_stages must be 0 to 4, not '2'"),
        ({"stem_stride": 4}, "stem_stride must be 8 or 16, not 4"),
        ({"weights": 7}, "weights must be the path of a checkpoint, True or '', not 7"),
        ({"weights": "/none.pth"}, "the weights file /none.pth does not exist"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_a_row_can_name_the_query_kernels():
    backbone = build(query_kernels=[5, 5, 5, 5])
    assert [conv.conv.kernel_size for conv in backbone.stages[0].blocks[0].attention.query_depthwise] == [(5, 5)] * 4


@pytest.mark.parametrize("kernels", [[5, 5, 5], [5, 5, 5, 4], [5, 5, 5, -1], "5555", 5, [5, 5, 5, True]], ids=str)
def test_what_are_no_query_kernels_is_refused(kernels):
    with pytest.raises(
        ValueError, match=r"EfficientViT_M0: query_kernels must be 4 odd numbers such as \[7, 5, 3, 3\]"
    ):
        build(query_kernels=kernels)


def test_constructor_runs_no_forward_pass(monkeypatch):
    def forbidden(*_):
        raise AssertionError("the constructor ran a forward pass")

    monkeypatch.setattr(nn.Conv2d, "forward", forbidden)
    backbone = backbone_class("EfficientViT_M0")()
    assert all(int(b) == 0 for n, b in backbone.named_buffers() if n.endswith("num_batches_tracked"))


def test_every_parameter_gets_a_finite_gradient(name):
    backbone = build(name).train()
    sum(m.square().mean() for m in backbone(torch.rand(2, 3, 64, 64))).backward()
    for parameter_name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def tensors_of(module):
    """Yield every tensor reachable from a module's attributes, registered or not."""
    for name, child in module.named_modules():
        for attribute, value in vars(child).items():
            for item in (
                value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
            ):
                if isinstance(item, torch.Tensor):
                    yield f"{name}.{attribute}", item


@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
@pytest.mark.parametrize("ran", [False, True], ids=["new", "after eval and forward"])
def test_no_tensor_outside_parameters_and_buffers(fused, ran):
    backbone = build()
    if fused:
        backbone.fuse()
    if ran:
        backbone.eval()(torch.rand(1, 3, 64, 64))
    registered = {id(t) for t in [*backbone.parameters(), *backbone.buffers()]}
    assert [where for where, t in tensors_of(backbone) if id(t) not in registered] == []


# bfloat16 keeps 8 bits, float16 11; some 40 layers follow each other
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.015)], ids=str)
@pytest.mark.parametrize("before", ["new", "after eval and forward", "fused"])
def test_lower_precision(dtype, tolerance, before):
    backbone = build().eval()
    image = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        expected = backbone(image)
        backbone = build().eval() if before == "new" else backbone
        if before == "fused":
            backbone.fuse()
        maps = backbone.to(dtype)(image.to(dtype))
    assert {m.dtype for m in maps} == {dtype}
    assert largest_error([m.float() for m in maps], expected) <= tolerance


@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies(way, fused):
    backbone = build().eval()
    if fused:
        backbone.fuse()
    if way == "deepcopy":
        other = copy.deepcopy(backbone)
    else:
        buffer = io.BytesIO()
        torch.save(backbone, buffer)
        buffer.seek(0)
        other = torch.load(buffer, weights_only=False)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_same(other(image), backbone(image))


def test_state_dict_round_trip():
    backbone, other = build().eval(), backbone_class("EfficientViT_M0")().eval()
    other.load_state_dict(backbone.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_same(other(image), backbone(image))


def test_a_copy_in_eval_mode_follows_updates_in_place():
    """As the exponential moving average of YOLOv5 is kept; known copies of this network answer with stale biases."""
    trained = build(seed=0)
    average = copy.deepcopy(build(seed=1)).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        average(image)
        for value, new in zip(average.state_dict().values(), trained.state_dict().values()):
            if value.dtype.is_floating_point:
                value.mul_(0.1).add_(new, alpha=0.9)
        fresh = backbone_class("EfficientViT_M0")().eval()
        fresh.load_state_dict(average.state_dict())
        assert_same(average(image), fresh(image))


def test_fuse_changes_the_form_and_not_the_values(name):
    backbone = build(name).eval()
    image = torch.rand(2, 3, 96, 160)
    with torch.no_grad():
        expected = backbone(image)
        saved = {key: value.clone() for key, value in backbone.state_dict().items()}
        before = backbone.state_dict()
        assert backbone.fuse() is backbone
        assert largest_error(backbone(image), expected) <= 1e-5
        once = backbone(image)
        backbone.fuse()
        assert_same(backbone(image), once)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    assert_same(before, saved)  # else fusing wrote to shared tensors


def test_fuse_keeps_mode_dtype_and_requires_grad():
    backbone = build(frozen_stages=1).double().train().fuse()
    assert backbone.training
    assert {p.dtype for p in backbone.parameters()} == {torch.float64}
    assert not any(p.requires_grad for p in backbone.stem.parameters())
    assert all(p.requires_grad for p in backbone.stages.parameters())


def test_gradients_of_batch_norms_are_channels_last():
    """A gradient in another layout than its map's takes a batch norm several times as long."""
    backbone = build()
    layouts = {}
    for name, module in backbone.named_modules():
        if isinstance(module, nn.BatchNorm2d):

            def watch(module, inputs, output, name=name):
                output.register_hook(
                    lambda gradient: layouts.update({name: gradient.is_contiguous(memory_format=torch.channels_last)})
                )

            module.register_forward_hook(watch)
    maps = backbone(torch.rand(2, 3, 128, 160))
    torch.autograd.backward(maps, [m.detach() for m in maps])
    assert len(layouts) == sum(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    assert [name for name, is_channels_last in layouts.items() if not is_channels_last] == []


def test_batch_norm_statistics_stay_frozen_with_their_stages():
    backbone = build(frozen_stages=2)
    for parameter in backbone.parameters():
        parameter.requires_grad = True  # as YOLOv5's train.py does
    before = copy.deepcopy(backbone.state_dict())
    backbone.train()
    sum(m.mean() for m in backbone(torch.rand(2, 3, 64, 64))).backward()
    frozen = ("stem.", "stages.0.")
    assert all(p.requires_grad != n.startswith(frozen) for n, p in backbone.named_parameters())
    moved = {n for n, value in backbone.state_dict().items() if not torch.equal(value, before[n])}
    assert moved
    assert not any(n.startswith(frozen) for n in moved)


@pytest.mark.parametrize("frozen", range(5))
def test_frozen_stages_counts_the_stem_first(frozen):
    backbone = build(frozen_stages=frozen)
    parts = [backbone.stem, *backbone.stages]
    assert [part.training for part in parts] == [False] * frozen + [True] * (4 - frozen)


def test_residual_branches_of_a_new_block_start_as_nothing():
    block = backbone_class("EfficientViT_M0")().stages[0].blocks[0].eval()
    x = torch.rand(1, 64, 7, 7)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("stride", "groups", "kernel"), [(1, 1, 1), (2, 1, 3), (1, 8, 7), (2, 8, 5)])
def test_folding_a_batch_norm(stride, groups, kernel):
    conv = ConvBN(8, 8, kernel, stride, groups).double().eval()
    randomise(conv)
    x = torch.randn(2, 8, 9, 11, dtype=torch.float64)
    with torch.no_grad():
        expected = conv(x)
        conv.fuse()
        torch.testing.assert_close(conv(x), expected, rtol=0, atol=1e-12)
    assert expected.shape[2:] == (-(-9 // stride), -(-11 // stride))
