"""Cascaded group attention in windows (Liu et al., CVPR 2023, arXiv 2305.07027, section 3.2)."""

from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import ConvBN

KEY_DIM = 16
WINDOW = 7


def pad_to_windows(x: Tensor, window: int = WINDOW) -> Tensor:
    """Zero-pad `(B, C, H, W)` at the bottom and right so that windows tile it; maps below one window are padded too."""
    pad_bottom, pad_right = -x.shape[2] % window, -x.shape[3] % window
    return F.pad(x, (0, pad_right, 0, pad_bottom)) if pad_bottom or pad_right else x


def partition_windows(x: Tensor, window: int = WINDOW) -> Tensor:
    """Cut `(B, C, H, W)`, H and W multiples of the window, into windows `(B * H/w * W/w, C, w, w)`.

    Windows of a channels_last map are channels_last too: tokens then are rows, ready for matrix products as they lie.
    """
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // window, window, w // window, window, c)
    x = x.transpose(2, 3).reshape(-1, window, window, c)  # (windows, w, w, C)
    return x.permute(0, 3, 1, 2)


def merge_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo `partition_windows`: windows `(B * H/w * W/w, C, w, w)` to `(B, C, height, width)`, in channels_last."""
    c, window = windows.shape[1], windows.shape[2]
    rows, columns = height // window, width // window
    x = windows.permute(0, 2, 3, 1).reshape(-1, rows, columns, window, window, c)
    x = x.transpose(2, 3).reshape(-1, height, width, c)
    return x.permute(0, 3, 1, 2)


def offset_index(window: int = WINDOW) -> Tensor:
    """Return, for each pair of the window's tokens, which offset (|dy|, |dx|) parts them: `(window^4,)` of int64.

    Offsets are numbered row by row: |dy| * window + |dx|.
    """
    token = torch.arange(window * window)
    row, column = torch.div(token, window, rounding_mode="floor"), token % window
    rows_apart = (row[:, None] - row[None, :]).abs()
    columns_apart = (column[:, None] - column[None, :]).abs()
    return (rows_apart * window + columns_apart).flatten()


class CascadedGroupAttention(nn.Module):
    """Self-attention in 7x7 windows whose heads each see their own channels plus the output of the head before.

    `(B, channels, H, W)` to the same shape, any H and W, the skip connection included. The padding of a map that
    windows do not tile is attended to like the rest, and cut off afterwards, as in the paper's detector.

    Attributes:
        bias: a learned attention bias per head and offset, `(heads, 49)`. Every forward pass gathers it anew, so no
            second copy of it can be of another dtype or out of date. `fuse()` replaces it by the buffer `fused_bias`
            of shape `(heads, 49, 49)`. The name matters: YOLOv5 up to v6.1 trains only what is called `weight` or
            `bias`, and all releases spare a `bias` the weight decay, as the paper does for this one.
    """

    offset_index: Tensor
    fused_bias: Tensor | None

    def __init__(self, channels: int, query_kernels: Sequence[int]) -> None:
        super().__init__()
        heads = len(query_kernels)
        self.head_channels = channels // heads
        self.scale = KEY_DIM**-0.5
        self.qkv = nn.ModuleList(ConvBN(self.head_channels, 2 * KEY_DIM + self.head_channels) for _ in range(heads))
        self.query_depthwise = nn.ModuleList(ConvBN(KEY_DIM, KEY_DIM, k, groups=KEY_DIM) for k in query_kernels)
        self.project = ConvBN(channels, channels, bn_weight=0.0)
        self.bias = nn.Parameter(torch.zeros(heads, WINDOW * WINDOW))
        self.register_buffer("offset_index", offset_index(), persistent=False)
        self.register_buffer("fused_bias", None)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = pad_to_windows(x)
        windows = self.attend(partition_windows(padded))
        return x + merge_windows(windows, padded.shape[2], padded.shape[3])[:, :, :height, :width]

    def attend(self, windows: Tensor) -> Tensor:
        """Attend within each window `(N, C, 7, 7)`; same shape."""
        biases = self.attention_bias()
        scale = self.scale if self.fused_bias is None else 1.0  # fuse() folds the scale into the query convolutions
        inputs = windows.split(self.head_channels, dim=1)
        outputs: list[Tensor] = []
        for qkv, query_depthwise, bias, part in zip(self.qkv, self.query_depthwise, biases, inputs):
            x = part + outputs[-1] if outputs else part
            query, key, value = qkv(x).split((KEY_DIM, KEY_DIM, self.head_channels), dim=1)
            query = query_depthwise(query).flatten(2).transpose(1, 2)  # (N, 49, 16)
            value = value.flatten(2).transpose(1, 2)  # (N, 49, C / heads)
            logits = torch.baddbmm(bias, query, key.flatten(2), alpha=scale)  # (N, 49, 49)
            x = logits.softmax(-1) @ value  # (N, 49, C / heads)
            outputs.append(x.transpose(1, 2).reshape(part.shape))
        return self.project(F.relu(torch.cat(outputs, 1)))

    def attention_bias(self) -> Tensor:
        """Return the bias for each head and pair of tokens, `(heads, 49, 49)`."""
        if self.fused_bias is not None:
            return self.fused_bias
        return self.bias[:, self.offset_index].view(-1, WINDOW**2, WINDOW**2)

    @torch.no_grad()
    def fuse(self) -> None:
        """Bake the bias and fold the softmax scale into the queries; does nothing the second time."""
        if self.fused_bias is not None:
            return
        self.fused_bias = self.attention_bias()
        del self.bias
        for query_depthwise in self.query_depthwise:
            assert isinstance(query_depthwise, ConvBN)
            query_depthwise.fuse()
            query_depthwise.conv.weight *= self.scale
            assert query_depthwise.conv.bias is not None
            query_depthwise.conv.bias *= self.scale
