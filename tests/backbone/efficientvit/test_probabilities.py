"""The attention that can be looked at is the one that the network computes; timm's own softmax is the reference."""

import pytest
import torch

from models.backbone.efficientvit.attention import CascadedGroupAttention
from models.backbone.efficientvit.network import VARIANTS
from models.backbone.registry import backbone_class
from tests.backbone.efficientvit.test_network import build
from tests.backbone.efficientvit.test_weights_of_timm import SIZE, normalised, timm_model
from tests.compare_maps import largest_error

pytest.importorskip("timm")


def softmax_of_timm(reference, image, monkeypatch):
    """What timm's network gets from softmax, for each head of each block in their order: `(windows, 49, 49)`."""
    kept, original = [], torch.Tensor.softmax

    def softmax(self, *arguments, **options):
        kept.append(original(self, *arguments, **options))
        return kept[-1]

    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(torch.Tensor, "softmax", softmax)
        reference.forward_features(normalised(image, reference))
    return kept


def probabilities_of(backbone, image):
    """What is captured by hooks, for each block: `(B, rows, columns, heads, 49, 49)`."""
    kept, hooks = [], []
    for module in backbone.modules():
        if isinstance(module, CascadedGroupAttention):
            hooks.append(module.register_forward_pre_hook(lambda at, inputs: kept.append(at.probabilities(*inputs))))
    with torch.no_grad():
        backbone(image)
    for hook in hooks:
        hook.remove()
    return kept


@pytest.mark.parametrize("name", ["EfficientViT_M0", "EfficientViT_M5"])
@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
def test_they_are_those_of_timm(name, fused, tmp_path, monkeypatch):
    reference = timm_model(name)
    torch.save(reference.state_dict(), tmp_path / "timm.pth")
    backbone = backbone_class(name)(weights=str(tmp_path / "timm.pth"), stem_stride=16).double()
    if fused:
        backbone.fuse()
    image = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64)
    expected = softmax_of_timm(reference.double(), image, monkeypatch)
    found = probabilities_of(backbone, image)
    assert [block.shape[1:4] for block in found] == [
        (cells, cells, heads)
        for cells, depth, heads in zip((4, 2, 1), VARIANTS[name].depths, VARIANTS[name].heads)
        for _ in range(depth)
    ]
    assert all(block.shape[0] == 2 for block in found)
    heads = [head for block in found for head in block.flatten(0, 2).unbind(1)]
    assert largest_error(heads, expected) <= 1e-11


@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
def test_rows_sum_to_one_also_over_padding(fused):
    backbone = build().eval()
    if fused:
        backbone.fuse()
    found = probabilities_of(backbone, torch.rand(1, 3, 192, 320))  # maps of 24 x 40, 12 x 20 and 6 x 10 cells
    assert [block.shape[1:3] for block in found] == [(4, 6)] + [(2, 3)] * 2 + [(1, 2)] * 3
    for block in found:
        assert block.min() >= 0
        torch.testing.assert_close(block.sum(-1), torch.ones(block.shape[:-1]), rtol=0, atol=1e-5)
        assert block.std() > 1e-3, "they differ, or a wrong order could not be seen"


def test_nothing_is_kept_where_nobody_looks():
    """`forward` hands its softmax to nobody, and computes what it did."""
    attention = build().eval().stages[0].blocks[0].attention
    x = torch.rand(1, 64, 9, 12)
    with torch.no_grad():
        before = attention(x)
        attention.probabilities(x)
        assert torch.equal(attention(x), before)
    assert not [name for name, value in vars(attention).items() if isinstance(value, (torch.Tensor, list))]
