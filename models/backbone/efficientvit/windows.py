"""Cutting a map into windows of 7x7 cells, in one of two layouts, and putting it together again.

Tokens, `(N, 49, C)` with N = B * H/7 * W/7, are the fastest in PyTorch. Planes, `(B, C, n, 49)` with n = H/7 * W/7, are
for other runtimes: no step has more than four dimensions, and swapping dimensions moves runs of seven numbers.
"""

from __future__ import annotations

from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..exporting import is_exporting

WINDOW = 7


def may_vary(size: Any) -> bool:
    """Whether `torch.export` or `torch.compile` leaves a size open."""
    return isinstance(size, getattr(torch, "SymInt", ()))  # since torch 2.0


def is_symbolic(size: Any) -> bool:
    """Whether `torch.export` records a size that may vary, and not for ONNX."""
    return may_vary(size) and is_exporting() and not torch.onnx.is_in_onnx_export()


def is_traced(size: Any) -> bool:
    """Whether a trace, or an export to ONNX, records a size that may vary."""
    return is_exporting() and not isinstance(size, int) and not is_symbolic(size)


def pad_to_windows(x: Tensor) -> Tensor:
    """Zero-pad `(B, C, H, W)` at the bottom and right so that windows tile it; maps below one window are padded too."""
    height, width = x.shape[2:]
    rows, columns = (height + WINDOW - 1) // WINDOW, (width + WINDOW - 1) // WINDOW
    # also where there is nothing to pad: a trace, and a compiled graph, must serve all sizes
    if is_traced(height) or is_traced(width):
        # by a constant amount, because ONNX spells a varying one by a chain of operators that onnxslim folds wrongly
        return F.pad(x, (0, WINDOW - 1, 0, WINDOW - 1))[:, :, : rows * WINDOW, : columns * WINDOW]
    return F.pad(x, (0, columns * WINDOW - width, 0, rows * WINDOW - height))


def partition_windows(x: Tensor) -> Tensor:
    """Cut `(B, C, H, W)`, H and W multiples of 7, into windows of tokens, `(B * H/7 * W/7, 49, C)`."""
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c)
    return x.transpose(2, 3).reshape(-1, WINDOW**2, c)


def merge_windows(tokens: Tensor, padded: Sequence[int], height: int, width: int) -> Tensor:
    """Undo `partition_windows` and `pad_to_windows`: `(B * H/7 * W/7, 49, C)` to `(B, C, height, width)`.

    `padded` is the shape `(B, C, H, W)` that was partitioned. It is cut while channels are last, so that the gradient
    of the tokens is dense.
    """
    b, c, h, w = padded  # B is not left to be inferred: an export then knows that it is the image's
    x = tokens.reshape(b, h // WINDOW, w // WINDOW, WINDOW, WINDOW, c)
    x = x.transpose(2, 3).reshape(b, h, w, c)
    return cut(cut(x, 1, height), 2, width).permute(0, 3, 1, 2)


def cut(x: Tensor, dim: int, size: int) -> Tensor:
    """Return the first `size` entries of one dimension."""
    if is_symbolic(size):  # torch.export serves no other size if it cannot prove that a slice fits
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
    """Cut `(B, C, H, W)`, H and W multiples of 7, into windows as planes, `(B, C, H/7 * W/7, 49)`."""
    batch, channels, height, width = x.shape
    rows, columns = height // WINDOW, width // WINDOW
    x = x.reshape(-1, WINDOW, columns, WINDOW).transpose(1, 2)  # (B * C * H/7, W/7, 7, 7)
    return x.reshape(batch, channels, rows * columns, WINDOW**2)  # not -1, which no empty batch can have


def from_planes(planes: Tensor, padded: Sequence[int]) -> Tensor:
    """Undo `as_planes`; `padded` is the shape `(B, C, H, W)` that was cut."""
    batch, channels, height, width = padded
    x = planes.reshape(-1, width // WINDOW, WINDOW, WINDOW).transpose(1, 2)  # (B * C * H/7, 7, W/7, 7)
    return x.reshape(batch, channels, height, width)
