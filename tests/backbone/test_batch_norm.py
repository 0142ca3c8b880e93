"""Folding batch norms of convolutions that are pruned, parametrised, on a device without float64, or synchronised."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import fusion, parametrizations, prune, spectral_norm, weight_norm

from models.backbone.batch_norm import fold_batch_norm
from tests.backbone.efficientvit.test_network import build
from tests.backbone.test_fuse_modes import make, norms_of
from tests.compare_maps import largest_error


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def convolutions(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


WAYS = {
    "pruned": lambda conv: prune.l1_unstructured(conv, "weight", 0.3),
    "pruned by channel": lambda conv: prune.ln_structured(conv, "weight", 0.3, n=2, dim=0),
    "pruned twice": lambda conv: [
        prune.l1_unstructured(conv, "weight", 0.3),
        prune.random_unstructured(conv, "weight", 0.3),
    ],
    "weight norm by a hook": weight_norm,
    "spectral norm by a hook": spectral_norm,
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "parametrised": lambda conv: nn.utils.parametrize.register_parametrization(conv, "weight", Doubled()),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the hooks of weight norm are on their way out
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["EfficientViT_M0", "test_resnet", "test_efficientnet"])
def test_computed_weights(name, way):
    model = make(name).double()  # some of these weights are large, which is no matter of the arithmetic here
    with torch.no_grad():
        for conv in convolutions(model):
            WAYS[way](conv)
        image = torch.rand(2, 3, 64, 64).double()
        model.train()(image)  # spectral norm finds its factors in training
        expected = model.eval()(image)
        before = norms_of(model)
        assert largest_error(model.fuse()(image), expected) <= 1e-9
        assert norms_of(model) == 0 < before
        copy.deepcopy(model)
    assert all("weight" in conv._parameters for conv in convolutions(model))
    assert not any("_orig" in name or "parametrizations" in name for name in model.state_dict())


def test_a_pruned_weight_that_has_moved_since():
    """The weight itself is only put together in a forward pass; training, or loading, changes what it is made of."""
    model = build().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
                prune.l1_unstructured(module, "weight", 0.3)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("weight_orig"):
                value.mul_(1.5)
        other.load_state_dict(model.state_dict())
        image = torch.rand(1, 3, 64, 64)
        assert largest_error(other.fuse()(image), model(image)) <= 1e-5


def test_no_convolution_of_the_fused_network_goes_unused():
    """YOLOv5's `utils.torch_utils.prune` takes every nn.Conv2d; behind fusing, each one that it finds has to count."""
    model = build().eval().fuse()
    ran = []
    for conv in convolutions(model):
        conv.register_forward_hook(lambda conv, *_: ran.append(conv))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image)
        assert len(ran) == len(convolutions(model)) > 20
        for conv in convolutions(model):
            prune.l1_unstructured(conv, "weight", 0.3)
        hooked = model(image)
        for conv in convolutions(model):
            prune.remove(conv, "weight")
        assert (model(image)[2] - before[2]).abs().max() > 0
        assert largest_error(model(image), hooked) <= 1e-5


def move_to_fakes(model, device, dtype):
    """Put tensors without values in place of a model's, on a device that this machine need not have."""
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, value in tensors.items():
                if value is not None:
                    fake = torch.empty(
                        value.shape, dtype=dtype if value.is_floating_point() else value.dtype, device=device
                    )
                    tensors[name] = nn.Parameter(fake) if isinstance(value, nn.Parameter) else fake


def test_a_device_without_float64():
    """MPS has none, and YOLOv5 moves a model to its device before it fuses."""
    fakes = pytest.importorskip("torch._subclasses.fake_tensor", reason="this torch has no fake tensors")
    from torch.utils._python_dispatch import TorchDispatchMode

    class NoFloat64(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and made.device.type != "cpu" and made.dtype == torch.float64:
                raise TypeError(f"{function} makes float64 on {made.device}")
            return made

    model = build().eval()
    conv, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)  # as in the models of timm
    with fakes.FakeTensorMode(), NoFloat64():
        for module in (model, conv, norm):
            move_to_fakes(module, "cuda", torch.float16)
        with pytest.raises(TypeError, match="makes float64 on cuda"):
            conv.weight.double()
        model.fuse()
        fold_batch_norm(conv, norm)
        assert norms_of(model) == 0
        tensors = [*model.parameters(), *model.buffers(), *conv.parameters()]
        dtypes = {("cuda", torch.float16), ("cuda", torch.int64)}  # the normalisation's statistics are whole numbers
        assert {(value.device.type, value.dtype) for value in tensors} == dtypes


@pytest.mark.parametrize("trains", [False, True], ids=["never trained", "trained"])
@pytest.mark.parametrize("name", ["EfficientViT_M0", "test_resnet", "test_efficientnet"])
def test_synchronised_norms_are_folded(name, trains):
    """YOLOv5's --sync-bn converts the model."""
    model = make(name)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(image)
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if trains:
            model.train().eval()
        assert largest_error(model.fuse()(image), expected) <= 1e-5
    assert norms_of(model) == 0


def test_a_convolution_with_a_bias():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(4, 6, 3).double(), nn.BatchNorm2d(6).double().eval()
    for value in (*norm.parameters(), norm.running_mean, norm.running_var):
        nn.init.uniform_(value, 0.5, 1.5)
    image = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = norm(conv(image))
        fold_batch_norm(conv, norm)
        torch.testing.assert_close(conv(image), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_folding_costs_one_rounding(dtype):
    """The exact weights are torch's own, in float64; a fold in float32 rounds each of its steps."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32)
    for value in (*norm.parameters(), norm.running_mean, norm.running_var):
        nn.init.uniform_(value, 0.5, 1.5)
    conv, norm = conv.to(dtype), norm.to(dtype).eval()
    of_norm = [value.double() for value in (norm.running_mean, norm.running_var)]
    exact = fusion.fuse_conv_bn_weights(
        conv.weight.double(), conv.bias.double(), *of_norm, norm.eps, norm.weight.double(), norm.bias.double()
    )
    fold_batch_norm(conv, norm)
    for folded, expected in zip((conv.weight, conv.bias), exact):
        assert folded.dtype == dtype
        assert torch.equal(folded, expected.to(dtype))
