"""The backbones on a GPU, beside themselves on the CPU and beside timm."""

import copy
import warnings

import pytest
import torch

from benchmarks.backbones import twins
from models.backbone.registry import backbone_class
from tests.backbone.efficientvit.test_network import build
from tests.backbone.test_without_gpu import assert_falls_as_in_float32
from tests.compare_maps import assert_same, largest_error

pytestmark = pytest.mark.cuda

IMAGENET = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 2e-1, torch.float16: 2e-2}


@pytest.fixture
def image():
    torch.manual_seed(1)
    return torch.rand(2, 3, 160, 128)


@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", ["EfficientViT_M0", "EfficientViT_M5"])
def test_maps_equal_those_of_the_cpu(device, image, name, dtype, fused):
    backbone = build(name, normalize=IMAGENET).eval().double()
    with torch.no_grad():
        expected = backbone(image.double())
        moved = copy.deepcopy(backbone).to(device, dtype)
        if fused:
            moved.fuse()
        maps = moved(image.to(device, dtype))
        last = moved(image.to(device, dtype).contiguous(memory_format=torch.channels_last))
    assert {feature_map.dtype for feature_map in maps} == {dtype}
    assert largest_error([m.cpu().double() for m in maps], expected) < TOLERANCES[dtype]
    assert largest_error([m.double() for m in last], [m.double() for m in maps]) < TOLERANCES[dtype]


@pytest.mark.parametrize("name", ["M0", "M1", "M2", "M3", "M4", "M5"])
def test_maps_equal_those_of_timm(device, name):
    theirs, ours = (network.double().to(device) for network in twins(f"EfficientViT_{name}", 448))
    image = torch.rand(1, 3, 448, 448, dtype=torch.float64, device=device)
    with torch.no_grad():
        expected = theirs(image)
        assert largest_error(ours(image), expected) < 1e-11
        assert largest_error(ours.fuse()(image), expected) < 1e-11


@pytest.mark.parametrize("order", ["half, fuse", "fuse, half"])
def test_half_and_fuse_in_any_order(device, image, order):
    backbone = build(normalize=IMAGENET).eval().to(device)
    with torch.no_grad():
        expected = backbone(image.to(device))
        for step in order.split(", "):
            getattr(backbone, step)()
        maps = backbone(image.to(device).half())
    assert largest_error([m.float() for m in maps], expected) < 2e-2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_mixed_precision_trains(device, dtype):
    if device.type == "cpu" and dtype is torch.float16:
        pytest.skip("not every version of torch has float16 autocast on the CPU")
    torch.manual_seed(0)
    assert_falls_as_in_float32(backbone_class("EfficientViT_M0")(), device.type, dtype)


def test_three_steps_as_on_the_cpu(device, image):
    losses = []
    for where in ("cpu", device):
        backbone = build().train().to(where)
        optimizer = torch.optim.SGD(backbone.parameters(), 1e-3, momentum=0.9)
        taken = []
        for _ in range(3):
            loss = sum(m.square().mean() for m in backbone(image.to(where)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            taken.append(loss.item())
        losses.append(torch.tensor(taken))
    assert losses[0][0] != losses[0][2]
    assert largest_error(losses[1], losses[0]) < 1e-3


@pytest.mark.parametrize("mode", ["training", "eval", "fused"])
def test_nothing_waits_for_the_device(device, image, mode):
    """Neither pass asks the GPU for a value."""
    if device.type == "cpu":
        pytest.skip("only a GPU has something to wait for")
    backbone = build(normalize=IMAGENET).train(mode == "training").to(device)
    if mode == "fused":
        backbone.fuse()
    moved = image.to(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        maps = backbone(moved)
        if mode == "training":
            sum(m.square().mean() for m in maps).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_deterministic_algorithms(device, image):
    """As YOLOv5 trains since v6.2: the same gradients twice, and no operator that has no such form."""
    torch.use_deterministic_algorithms(True)
    try:
        backbone = build().train().to(device)
        gradients = []
        for _ in range(2):
            backbone.zero_grad()
            sum(m.square().mean() for m in backbone(image.to(device))).backward()
            gradients.append([p.grad.clone() for p in backbone.parameters()])
            for module in backbone.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.reset_running_stats()
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same(gradients[1], gradients[0])


def test_a_cuda_graph_replays(device, image):
    if device.type == "cpu":
        pytest.skip("the CPU has no CUDA graphs")
    backbone = build(normalize=IMAGENET).eval().to(device).fuse()
    place = image.to(device)
    with torch.no_grad():
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            backbone(place)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            maps = backbone(place)
        other = torch.rand_like(place)
        place.copy_(other)
        graph.replay()
        assert largest_error(maps, backbone(other)) < 1e-5


@pytest.mark.parametrize("fused", [False, True], ids=["training", "fused"])
def test_compiled_as_one_graph(device, image, fused):
    backbone = build().to(device).train(not fused)
    if fused:
        backbone.fuse()
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of TF32
        compiled = torch.compile(backbone, fullgraph=True, backend="inductor" if device.type == "cuda" else "eager")
        maps = compiled(image.to(device))
    assert largest_error(maps, backbone(image.to(device))) < 1e-4


def test_frozen_stages_stay_as_they_are(device, image):
    backbone = build(frozen_stages=2).train().to(device)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], 0.1)
    sum(m.square().mean() for m in backbone(image.to(device))).backward()
    optimizer.step()
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(("stages.1.", "stages.2.")) for name in changed)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "efficientvit_m0", "swin_tiny_patch4_window7_224"])
def test_models_of_timm(device, name):
    """Normalised, in half precision and in mixed precision."""
    options = {"image_size": 224} if "swin" in name else {}
    torch.manual_seed(0)
    strides = [16, 32, 64] if "efficientvit" in name else [8, 16, 32]
    backbone = backbone_class("TimmBackbone")(3, name, False, strides, normalize=IMAGENET, **options)
    image = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        expected = backbone.eval()(image)
        moved = copy.deepcopy(backbone).to(device)
        assert largest_error([m.cpu() for m in moved(image.to(device))], expected) < 1e-3
        half = copy.deepcopy(moved).half()(image.to(device).half())
        assert largest_error([m.cpu().float() for m in half], expected) < 5e-2
    moved.train()
    with torch.autocast(device.type, torch.bfloat16):
        maps = moved(image.to(device))
    sum(m.float().square().mean() for m in maps).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in moved.parameters())
