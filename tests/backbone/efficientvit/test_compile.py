"""torch.compile takes the whole network as one graph, and one graph serves many sizes."""

import pytest
import torch

from tests.backbone.efficientvit.test_network import build
from tests.compare_maps import largest_error

dynamo = pytest.importorskip("torch._dynamo")  # since torch 2.0
testing = pytest.importorskip("torch._dynamo.testing")

# Batch, height, width. Of each map both sides are padded and several windows long; a map that windows tile, or that
# lies in one window, has other strides and gets a graph of its own, as do fewer than 16 windows (PyTorch then convolves
# in another way).
SIZES = [(4, 256, 320), (5, 320, 288), (4, 640, 384)]


@pytest.mark.parametrize("mode", ["training", "fused"])
@pytest.mark.parametrize("dynamic", [True, False], ids=["dynamic", "static"])
def test_one_graph(mode, dynamic):
    backbone = build().train(mode == "training")
    if mode == "fused":
        backbone.fuse()
    dynamo.reset()
    graphs = testing.CompileCounter()
    compiled = torch.compile(backbone, backend=graphs, fullgraph=True, dynamic=dynamic)
    with torch.set_grad_enabled(mode == "training"):
        for batch, height, width in SIZES if dynamic else SIZES[:1]:
            image = torch.rand(batch, 3, height, width)
            torch.manual_seed(0)
            assert largest_error(compiled(image), backbone(image)) <= 1e-5
    assert graphs.frame_count == 1
