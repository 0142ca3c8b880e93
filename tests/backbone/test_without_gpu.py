"""What a GPU would meet, found without one: wrong devices and dtypes, waiting for values, mixed precision."""

import copy

import pytest
import torch

from models.backbone.registry import backbone_class

fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")  # since torch 1.13

from tests.pretended_gpu import pretended  # noqa: E402

IMAGENET = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
TIMM = ["test_resnet", "test_convnext", "lcnet_035"]


def backbone(name, **options):
    torch.manual_seed(0)
    if name.startswith("EfficientViT"):
        return backbone_class(name)(**options)
    timm = pytest.importorskip("timm")
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    return backbone_class("TimmBackbone")(3, name, **options)


@pytest.mark.parametrize("way", ["training", "eval", "fused"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["EfficientViT_M0", *TIMM])
def test_a_gpu_in_pretence(name, dtype, way):
    """All maps are on the GPU, in the image's dtype; nothing is asked for a value, for which a GPU would have to wait."""
    mode = fake_tensor.FakeTensorMode()
    model = backbone(name, normalize=IMAGENET).to(dtype).train(way == "training")
    model = pretended(model.fuse() if way == "fused" else model, mode, dtype)
    with mode, torch.no_grad():
        maps = model(torch.rand(2, 3, 96, 160, device="cuda").to(dtype))
    assert [(m.device.type, m.dtype) for m in maps] == [("cuda", dtype)] * 3
    assert [tuple(m.shape[2:]) for m in maps] == [(12, 20), (6, 10), (3, 5)]


@pytest.mark.skipif(not hasattr(torch, "autocast"), reason="this torch has no autocast on the CPU")
@pytest.mark.parametrize("name", ["EfficientViT_M0", "test_resnet"])
def test_mixed_precision_trains(name):
    assert_falls_as_in_float32(backbone(name), "cpu", torch.bfloat16)


def assert_falls_as_in_float32(start, device, dtype):
    """In mixed precision the loss falls as in float32, and every gradient is finite."""
    image = torch.rand(2, 3, 160, 128, generator=torch.Generator().manual_seed(1)).to(device)
    start = start.train().to(device)
    generator = torch.Generator().manual_seed(2)
    targets = [torch.rand(m.shape, generator=generator).to(device) for m in copy.deepcopy(start)(image)]
    falls = []
    for mixed in (False, True):
        model = copy.deepcopy(start)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        losses = []
        for _ in range(8):
            with torch.autocast(device, dtype, enabled=mixed):
                maps = model(image)
            loss = sum((m.float() - target).square().mean() for m, target in zip(maps, targets))
            optimizer.zero_grad()
            loss.backward()
            assert all(p.grad.isfinite().all() for p in model.parameters())
            optimizer.step()
            losses.append(loss.item())
        falls.append(losses[0] - losses[-1])
    assert falls[0] > 0.2 * losses[0]
    assert abs(falls[1] - falls[0]) < 0.1 * falls[0]
