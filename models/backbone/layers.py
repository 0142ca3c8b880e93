"""Convolutional layers of EfficientViT (Liu et al., CVPR 2023, arXiv 2305.07027).

Each has two forms that compute the same: the one that trains, and after `fuse()` the one that infers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that keeps the eps it was trained with.

    YOLOv5's `initialize_weights` sets eps to 1e-3 on every module whose type is exactly `nn.BatchNorm2d`; that moves
    the features of a network trained with 1e-5. A subclass is passed over there, and is a batch norm everywhere else:
    optimizer groups, SyncBatchNorm conversion, `model.train()`.
    """


class ConvBN(nn.Module):
    """A convolution without bias and its batch norm, which `fuse()` folds into one convolution with bias.

    `(B, in_channels, H, W)` to `(B, out_channels, ceil(H / stride), ceil(W / stride))`; the kernel size is odd.
    `bn_weight` is the first value of the batch norm's weight: 0 makes a residual branch start as nothing.
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
        self.bn: BatchNorm2d | None = BatchNorm2d(out_channels)
        nn.init.constant_(self.bn.weight, bn_weight)

    @property
    def fused(self) -> bool:
        """Whether `fuse()` has folded the batch norm away."""
        return self.bn is None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.bn is None else self.bn(x)

    def fuse(self) -> None:
        """Fold the batch norm into the convolution; does nothing the second time."""
        if self.bn is not None:
            fold_batch_norm(self.conv, self.bn)
            self.bn = None


class ResidualDepthwise(ConvBN):
    """`x + depthwise(x)` with a 3x3 kernel, `(B, channels, H, W)` to the same shape; one convolution once fused."""

    def __init__(self, channels: int, bn_weight: float) -> None:
        super().__init__(channels, channels, 3, groups=channels, bn_weight=bn_weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if self.fused else super().forward(x).add_(x)

    @torch.no_grad()
    def fuse(self) -> None:
        if not self.fused:
            super().fuse()
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
    """Scale each channel by a gate computed from all channels' means (Hu et al., CVPR 2018); keeps the shape."""

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


@torch.no_grad()
def fold_batch_norm(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> None:
    """Make `conv` compute what `bn(conv(x))` does in eval mode.

    The parameters are replaced, not written to, so that a `state_dict()` taken before stays what it is; device, dtype
    and requires_grad are kept. The arithmetic is done in float64: folding costs no more than one rounding.
    """
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    weight = conv.weight.double() * scale.reshape(-1, 1, 1, 1)
    bias = bn.bias.double() - bn.running_mean.double() * scale
    trained = conv.weight.requires_grad
    conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=trained)
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=trained)
