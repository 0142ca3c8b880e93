"""The yardstick: EfficientViT as one writes it down from the paper, unfused and in PyTorch's default layout.

`plain(backbone, image)` returns the maps of an unfused backbone, equal up to float32 rounding. It computes nothing in
place, and cuts windows out of (B, C, H, W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone.efficientvit.attention import KEY_DIM, CascadedGroupAttention
from models.backbone.efficientvit.layers import ConvBN, FeedForward, PatchMerging, ResidualDepthwise
from models.backbone.efficientvit.network import EfficientViT
from models.backbone.efficientvit.windows import WINDOW


def plain(backbone: EfficientViT, image: Tensor) -> list[Tensor]:
    """Return the maps of an image `(B, C, H, W)`."""
    x = run(backbone.stem, image)
    maps = []
    for stage in backbone.stages:
        x = run(stage, x)
        maps.append(x)
    return maps


def run(module: nn.Module, x: Tensor) -> Tensor:
    """Compute what a module of the backbone does."""
    if isinstance(module, ResidualDepthwise):
        return x + convolve(module, x)
    if isinstance(module, ConvBN):
        return convolve(module, x)
    if isinstance(module, nn.ReLU):
        return F.relu(x)
    if isinstance(module, FeedForward):
        return x + convolve(module.project, F.relu(convolve(module.expand, x)))
    if isinstance(module, PatchMerging):
        x = F.relu(convolve(module.depthwise, F.relu(convolve(module.expand, x))))
        squeeze_excite = module.squeeze_excite
        gate = squeeze_excite.expand(F.relu(squeeze_excite.reduce(x.mean((2, 3), keepdim=True))))
        return convolve(module.project, x * gate.sigmoid())
    if isinstance(module, CascadedGroupAttention):
        return x + attend_in_windows(module, x)
    for child in module.children():
        x = run(child, x)
    return x


def convolve(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a convolution and its batch norm."""
    assert isinstance(module, ConvBN)
    assert module.bn is not None, "the backbone must not be fused"
    return module.bn(module.conv(x))


def attend_in_windows(module: CascadedGroupAttention, x: Tensor) -> Tensor:
    """Pad `(B, C, H, W)`, partition it into windows, attend, merge them and crop; same shape."""
    batch, channels, height, width = x.shape
    padded = F.pad(x, (0, -width % WINDOW, 0, -height % WINDOW))
    rows, columns = padded.shape[2] // WINDOW, padded.shape[3] // WINDOW
    windows = padded.view(batch, channels, rows, WINDOW, columns, WINDOW).permute(0, 2, 4, 1, 3, 5)
    windows = attend(module, windows.reshape(-1, channels, WINDOW, WINDOW))
    merged = windows.view(batch, rows, columns, channels, WINDOW, WINDOW).permute(0, 3, 1, 4, 2, 5)
    return merged.reshape(padded.shape)[:, :, :height, :width]


def attend(module: CascadedGroupAttention, windows: Tensor) -> Tensor:
    """Cascaded group attention within each window `(N, C, 7, 7)`."""
    biases = module.attention_bias()
    outputs: list[Tensor] = []
    for head, part in enumerate(windows.chunk(len(biases), dim=1)):
        x = part + outputs[-1] if outputs else part
        query, key, value = convolve(module.qkv[head], x).split((KEY_DIM, KEY_DIM, module.head_channels), dim=1)
        query = convolve(module.query_depthwise[head], query)
        query, key, value = query.flatten(2), key.flatten(2), value.flatten(2)
        weights = (query.transpose(1, 2) @ key * module.scale + biases[head]).softmax(-1)
        outputs.append((value @ weights.transpose(1, 2)).view(part.shape))
    return convolve(module.project, F.relu(torch.cat(outputs, 1)))
