"""Convolutional layers of EfficientViT (Liu et al., CVPR 2023, arXiv 2305.07027).

Each has two forms that compute the same: one for training, and after `fuse()` one for inference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..batch_norm import BatchNorm2d, fold_batch_norm, outside_inference_mode
from ..frozen import FrozenBatchNorm2d


class ConvBN(nn.Module):
    """A convolution without bias and its batch norm, which `fuse()` folds into one convolution with bias.

    `(B, in_channels, H, W)` to `(B, out_channels, ceil(H / stride), ceil(W / stride))`; the kernel size is odd.
    `bn_weight` is the initial value of the batch norm's weight: 0 makes a residual branch start as zero.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        bn_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
        )
        bn = BatchNorm2d(out_channels)
        nn.init.constant_(bn.weight, bn_weight)
        self.bn: BatchNorm2d | FrozenBatchNorm2d | None = bn

    @property
    def fused(self) -> bool:
        """Whether `fuse()` has folded the batch norm."""
        return self.bn is None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.bn is None else self.bn(x)

    def fuse(self) -> None:
        """Fold the batch norm into the convolution; do nothing if that is done."""
        if self.bn is not None:
            fold_batch_norm(self.conv, self.bn)
            self.bn = None


class ResidualDepthwise(ConvBN):
    """`x + depthwise(x)` with a 3x3 kernel, `(B, channels, H, W)` to the same shape; once fused, one convolution."""

    def __init__(self, channels: int, bn_weight: float) -> None:
        super().__init__(channels, channels, 3, groups=channels, bn_weight=bn_weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if self.fused else super().forward(x).add_(x)

    def fuse(self) -> None:
        if not self.fused:
            super().fuse()
            with outside_inference_mode(), torch.no_grad():
                self.conv.weight[:, :, 1, 1] += 1.0  # the skip connection is a kernel that is 1 in its centre


class FeedForward(nn.Module):
    """`x + project(relu(expand(x)))` by 1x1 convolutions of expansion 2, `(B, channels, H, W)` to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = ConvBN(channels, 2 * channels)
        self.project = ConvBN(2 * channels, channels, bn_weight=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(F.relu(self.expand(x), inplace=True)).add_(x)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from all channels' means (Hu et al., CVPR 2018); same shape."""

    def __init__(self, channels: int, ratio: float = 0.25) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, int(channels * ratio), 1)
        self.expand = nn.Conv2d(int(channels * ratio), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)), inplace=True))  # (B, C, 1, 1)
        return x * gate.sigmoid()


class PatchMerging(nn.Module):
    """Halve the map by an inverted bottleneck of expansion 4: `(B, in, H, W)` to `(B, out, H / 2, W / 2)`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = 4 * in_channels
        self.expand = ConvBN(in_channels, hidden)
        self.depthwise = ConvBN(hidden, hidden, 3, stride=2, groups=hidden)
        self.squeeze_excite = SqueezeExcite(hidden)
        self.project = ConvBN(hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.depthwise(F.relu(self.expand(x), inplace=True)), inplace=True)
        return self.project(self.squeeze_excite(x))


class FoldedConv(nn.Module):
    """The weight `(out, in / groups, k, k)` and bias `(out,)` of a convolution that another layer computes by products.

    It has no `forward()` and is no `nn.Conv2d`: tools that prune, quantise or observe convolutions would do nothing
    here, or the wrong thing.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.in_channels, self.out_channels, self.groups = conv.in_channels, conv.out_channels, conv.groups
        self.kernel_size, self.stride = conv.kernel_size, conv.stride
        self.weight, self.bias = conv.weight, conv.bias
