"""Partition of a map into windows of 7x7 cells, in one of two layouts, and its inverse.

Tokens, `(N, 49, C)` with N = B * H/7 * W/7, are the fastest in PyTorch. Planes, `(B, C, n, 49)` with n = H/7 * W/7, are
for other runtimes: no step has more than four dimensions, and each transpose moves runs of seven numbers.
"""

from __future__ import annotations

from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..exporting import is_exporting

WINDOW = 7


def is_dynamic(size: Any) -> bool:
    """Whether `torch.export` or `torch.compile` treats a size as dynamic."""
    return isinstance(size, getattr(torch, "SymInt", ()))  # since torch 2.0


def is_symbolic(size: Any) -> bool:
    """Whether `torch.export` records a dynamic size, and not for ONNX."""
    return is_dynamic(size) and is_exporting() and not torch.onnx.is_in_onnx_export()


def is_traced(size: Any) -> bool:
    """Whether a trace, or an export to ONNX, records a dynamic size."""
    return is_exporting() and not isinstance(size, int) and not is_symbolic(size)


def pad_to_windows(x: Tensor) -> Tensor:
    """Zero-pad `(B, C, H, W)` at the bottom and right so that windows tile it; maps below one window are padded too."""
    height, width = x.shape[2:]
    rows, columns = (height + WINDOW - 1) // WINDOW, (width + WINDOW - 1) // WINDOW
    # no branch for sizes that need no padding: a trace, or a compiled graph, must serve all sizes
    if is_traced(height) or is_traced(width):
        # by a constant amount, because onnxslim wrongly folds the operators by which ONNX expresses a dynamic one
        return F.pad(x, (0, WINDOW - 1, 0, WINDOW - 1))[:, :, : rows * WINDOW, : columns * WINDOW]
    return F.pad(x, (0, columns * WINDOW - width, 0, rows * WINDOW - height))


def partition_windows(x: Tensor) -> Tensor:
    """Partition `(B, C, H, W)`, H and W multiples of 7, into windows of tokens, `(B * H/7 * W/7, 49, C)`."""
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c)
    return x.transpose(2, 3).reshape(-1, WINDOW**2, c)


def merge_windows(tokens: Tensor, padded: Sequence[int], height: int, width: int) -> Tensor:
    """Undo `partition_windows` and `pad_to_windows`: `(B * H/7 * W/7, 49, C)` to `(B, C, height, width)`.

    `padded` is the shape `(B, C, H, W)` that was partitioned. The map is cropped while channels are last, so that the
    gradient of the tokens is dense.
    """
    b, c, h, w = padded  # B is not inferred by -1, so that an export knows it as the batch of the image
    x = tokens.reshape(b, h // WINDOW, w // WINDOW, WINDOW, WINDOW, c)
    x = x.transpose(2, 3).reshape(b, h, w, c)
    return crop(crop(x, 1, height), 2, width).permute(0, 3, 1, 2)


def crop(x: Tensor, dim: int, size: int) -> Tensor:
    """Return the first `size` entries of one dimension."""
    if is_symbolic(size):  # torch.export fixes the size if it cannot prove that a slice fits
        return x.index_select(dim, torch.arange(size, device=x.device))
    return x[(slice(None),) * dim + (slice(size),)]  # not narrow(), which NCNN does not know


def as_windows(tokens: Tensor) -> Tensor:
    """View tokens `(N, 49, C)` as maps for convolutions, `(N, C, 7, 7)` in channels_last."""
    return tokens.transpose(1, 2).reshape(-1, tokens.shape[2], WINDOW, WINDOW)


def as_tokens(windows: Tensor) -> Tensor:
    """View maps `(N, C, 7, 7)` in channels_last as tokens, `(N, 49, C)`."""
    # not flatten(2).transpose(1, 2): under torch.func.vmap, a batch norm in front of that gets wrong gradients (2.15)
    return windows.permute(0, 2, 3, 1).flatten(1, 2)


def as_planes(x: Tensor) -> Tensor:
    """Partition `(B, C, H, W)`, H and W multiples of 7, into windows as planes, `(B, C, H/7 * W/7, 49)`."""
    batch, channels, height, width = x.shape
    rows, columns = height // WINDOW, width // WINDOW
    x = x.reshape(-1, WINDOW, columns, WINDOW).transpose(1, 2)  # (B * C * H/7, W/7, 7, 7)
    return x.reshape(batch, channels, rows * columns, WINDOW**2)  # not -1, which an empty batch leaves undefined


def from_planes(planes: Tensor, padded: Sequence[int]) -> Tensor:
    """Undo `as_planes`; `padded` is the shape `(B, C, H, W)` that was partitioned."""
    batch, channels, height, width = padded
    x = planes.reshape(-1, width // WINDOW, WINDOW, WINDOW).transpose(1, 2)  # (B * C * H/7, 7, W/7, 7)
    return x.reshape(batch, channels, height, width)
