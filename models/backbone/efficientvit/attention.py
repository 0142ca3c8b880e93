"""Cascaded group attention in windows (Liu et al., CVPR 2023, arXiv 2305.07027, section 3.2)."""

from __future__ import annotations

from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..batch_norm import cast_like, in_float64, outside_inference_mode
from ..exporting import is_exporting
from .layers import ConvBN, FoldedConv

KEY_DIM = 16
WINDOW = 7


def is_symbolic(size: Any) -> bool:
    """Whether `torch.export` records a size that may vary, and not for ONNX."""
    symbolic = isinstance(size, getattr(torch, "SymInt", ()))  # since torch 2.0
    return symbolic and is_exporting() and not torch.onnx.is_in_onnx_export()


def pad_to_windows(x: Tensor) -> Tensor:
    """Zero-pad `(B, C, H, W)` at the bottom and right so that windows tile it; maps below one window are padded too."""
    height, width = x.shape[2:]
    rows, columns = (height + WINDOW - 1) // WINDOW, (width + WINDOW - 1) // WINDOW
    # also where there is nothing to pad: a trace, and a compiled graph, must serve all sizes
    if is_exporting() and not is_symbolic(height) and not is_symbolic(width):
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
    return x.narrow(dim, 0, size)


def as_windows(tokens: Tensor) -> Tensor:
    """View tokens `(N, 49, C)` as maps for convolutions, `(N, C, 7, 7)` in channels_last."""
    return tokens.transpose(1, 2).reshape(-1, tokens.shape[2], WINDOW, WINDOW)


def as_tokens(windows: Tensor) -> Tensor:
    """View maps `(N, C, 7, 7)` in channels_last as tokens, `(N, 49, C)`."""
    # not flatten(2).transpose(1, 2): under torch.func.vmap, a batch norm in front of that gets wrong gradients (2.15)
    return windows.permute(0, 2, 3, 1).flatten(1, 2)


def bias_of_pairs(table: Tensor) -> Tensor:
    """Spread biases by offset, `(heads, 49)`, over the pairs of a window's tokens, `(heads, 49, 49)`.

    Tokens at (y, x) and (y', x') are |y - y'| rows and |x - x'| columns apart: entry 7 * rows + columns of the table.
    """
    place = torch.arange(WINDOW, device=table.device)
    apart = (place[:, None] - place).abs()  # (7, 7)
    pairs = table.reshape(-1, WINDOW, WINDOW)[:, apart[:, None, :, None], apart[:, None, :]]  # (heads, y, x, y', x')
    return pairs.reshape(-1, WINDOW**2, WINDOW**2)


class CascadedGroupAttention(nn.Module):
    """Self-attention in 7x7 windows whose heads each see their own channels plus the output of the head before.

    `(B, channels, H, W)` to the same shape, any H and W, the skip connection included. The padding of a map that
    windows do not tile is attended to like the rest, and cut off afterwards, as in the paper's detector.

    Attributes:
        bias: a learned attention bias per head and offset, `(heads, 49)`. Every forward pass gathers it anew, so no
            second copy of it can be of another dtype or out of date. `fuse()` replaces it by the buffer `fused_bias`
            of shape `(heads, 49, 49)`. The name matters: YOLOv5 keeps a `bias` without weight decay, as the paper does
            for this one; the patched train.py sees to it where v6.1 does not, with AdamW.
        query_mixing: once fused, the queries' depthwise convolutions as matrices, `(heads, 16, 49, 49)`: in a window,
            which has an edge on every side, the convolution of a channel is one matrix from tokens to tokens.
        query_offset: once fused, what all biases before the logits add to a query, `(heads, 16, 1, 49)`.
        value_bias: once fused, what all biases before the projection add to its input, `(channels,)`.
    """

    fused_bias: Tensor | None
    query_mixing: Tensor
    query_offset: Tensor
    value_bias: Tensor

    def __init__(self, channels: int, query_kernels: Sequence[int]) -> None:
        super().__init__()
        heads = len(query_kernels)
        self.head_channels = channels // heads
        self.scale = KEY_DIM**-0.5
        # each a ConvBN, and a FoldedConv once fused
        qkv_channels = 2 * KEY_DIM + self.head_channels
        self.qkv: Any = nn.ModuleList(ConvBN(self.head_channels, qkv_channels) for _ in query_kernels)
        self.query_depthwise: Any = nn.ModuleList(ConvBN(KEY_DIM, KEY_DIM, k, groups=KEY_DIM) for k in query_kernels)
        self.project: Any = ConvBN(channels, channels, bn_weight=0.0)
        self.bias = nn.Parameter(torch.zeros(heads, WINDOW * WINDOW))
        self.register_buffer("fused_bias", None)

    def set_query_kernels(self, kernels: Sequence[int]) -> None:
        """Replace the queries' depthwise convolutions by new ones of these kernel sizes, one for each head."""
        convolutions = nn.ModuleList(ConvBN(KEY_DIM, KEY_DIM, k, groups=KEY_DIM) for k in kernels)
        self.query_depthwise = convolutions.to(self.bias).train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = pad_to_windows(x)
        attend = self.attend if self.fused_bias is None else self.attend_by_products
        tokens = attend(partition_windows(padded))
        return x + merge_windows(tokens, padded.shape, height, width)

    def attend(self, tokens: Tensor) -> Tensor:
        """Attend within each window of tokens `(N, 49, C)`; same shape.

        Query, key and value are split as tokens, not as maps: their gradients then come together in channels_last,
        without which the backward pass of a batch norm takes several times as long.
        """
        biases = self.attention_bias().unbind()
        inputs = tokens.split(self.head_channels, dim=2)
        outputs: list[Tensor] = []
        for qkv, query_depthwise, bias, part in zip(self.qkv, self.query_depthwise, biases, inputs):
            x = part + outputs[-1] if outputs else part
            qkv_tokens = as_tokens(qkv(as_windows(x)))
            query, key, value = qkv_tokens.split((KEY_DIM, KEY_DIM, self.head_channels), dim=2)
            query = as_tokens(query_depthwise(as_windows(query)))  # (N, 49, 16)
            logits = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=self.scale)  # (N, 49, 49)
            outputs.append(torch.bmm(logits.softmax(-1), value))  # (N, 49, C / heads)
        return as_tokens(self.project(as_windows(F.relu(torch.cat(outputs, 2), inplace=True))))

    def attend_by_products(self, tokens: Tensor) -> Tensor:
        """Compute what `attend` does, once fused, without a convolution and with few biases.

        On maps as small as windows, preparing a convolution takes longer than the convolution itself, and a bias costs
        a matrix product one more pass over its result. `bake_products` says where the biases went.
        """
        assert self.fused_bias is not None
        inputs = tokens.split(self.head_channels, dim=2)
        outputs: list[Tensor] = []
        baked = zip(self.query_mixing.unbind(), self.query_offset.unbind(), self.fused_bias.unbind())
        for qkv, (mixing, offset, bias), part in zip(self.qkv, baked, inputs):
            x = part + outputs[-1] if outputs else part
            rows = x.reshape(-1, self.head_channels)  # (N * 49, C / heads)
            weight = qkv.weight.flatten(1)
            query = torch.mm(weight[:KEY_DIM], rows.t()).view(KEY_DIM, -1, WINDOW**2)
            query = torch.baddbmm(offset, query, mixing)  # (16, N, 49)
            key_value = F.linear(rows, weight[KEY_DIM:]).view(-1, WINDOW**2, KEY_DIM + self.head_channels)
            key, value = key_value.split((KEY_DIM, self.head_channels), dim=2)
            logits = torch.baddbmm(bias, query.permute(1, 2, 0), key.transpose(1, 2))  # (N, 49, 49)
            outputs.append(torch.bmm(logits.softmax(-1), value))  # (N, 49, C / heads)
        x = F.relu(torch.cat(outputs, 2).add_(self.value_bias), inplace=True)
        return F.linear(x, self.project.weight.flatten(1), self.project.bias)

    def attention_bias(self) -> Tensor:
        """Return the bias for each head and pair of tokens, `(heads, 49, 49)`, of a network that is not fused."""
        return bias_of_pairs(self.bias)

    def fuse(self) -> None:
        """Fold batch norms, bias and softmax scale, and bake the matrices; does nothing the second time.

        What is baked does not follow later changes of the weights. No convolution is left afterwards, so that what
        prunes or quantises convolutions passes attention over; it has to come before.
        """
        if self.fused_bias is not None:
            return
        with outside_inference_mode(), torch.no_grad():
            self.fused_bias = self.attention_bias()
            del self.bias
            self.qkv = nn.ModuleList(map(folded, self.qkv))
            self.query_depthwise = nn.ModuleList(map(folded, self.query_depthwise))
            self.project = folded(self.project)
            for query_depthwise in self.query_depthwise:
                query_depthwise.weight *= self.scale
                query_depthwise.bias *= self.scale
            self.bake_products()

    def bake_products(self) -> None:
        """Prepare the buffers of `attend_by_products`, from convolutions that `fuse()` has folded.

        Key bias: it shifts all logits of a query equally, and softmax ignores a shift, so it is dropped. Value bias:
        the softmax weights sum to 1, so the head's output is shifted by exactly this bias; it is added to the next
        head's input and to the projection's input. Query bias: it is constant before the convolution, so it leaves one
        constant per token after it.
        """
        mixings: list[Tensor] = []
        offsets: list[Tensor] = []
        value_biases: list[Tensor] = []
        value_start = 2 * KEY_DIM
        for qkv, query_depthwise in zip(self.qkv, self.query_depthwise):
            bias = in_float64(qkv.bias)
            if value_biases:
                bias = bias + in_float64(qkv.weight).flatten(1) @ value_biases[-1]
            mixing = window_matrices(query_depthwise.weight)
            from_query = bias[:KEY_DIM, None, None] * in_float64(mixing).sum(1, keepdim=True)  # (16, 1, 49)
            mixings.append(mixing)
            offsets.append(cast_like(from_query + in_float64(query_depthwise.bias)[:, None, None], mixing))
            value_biases.append(bias[value_start:])
        # registered here, so that a network pickled by an earlier version of this file has them as buffers too
        self.register_buffer("query_mixing", torch.stack(mixings))
        self.register_buffer("query_offset", torch.stack(offsets))
        self.register_buffer("value_bias", cast_like(torch.cat(value_biases), mixings[0]))


def folded(layer: Any) -> FoldedConv:
    """Fold the batch norm of a `ConvBN`, and return what is left of it."""
    layer.fuse()
    return FoldedConv(layer.conv)


def window_matrices(weight: Tensor, window: int = WINDOW) -> Tensor:
    """Return what a depthwise convolution does to each channel of a zero-padded window, `(C, w * w, w * w)`.

    `tokens @ matrix`, with a channel's tokens as a row, is the convolution by the kernels `weight` of `(C, 1, k, k)`.
    """
    channels, tokens = len(weight), window * window
    kernels = in_float64(weight)  # not every version convolves halves on the CPU
    impulses = torch.eye(tokens, dtype=kernels.dtype, device=kernels.device).view(tokens, 1, window, window)
    responses = F.conv2d(
        impulses.expand(-1, channels, -1, -1), kernels, padding=kernels.shape[-1] // 2, groups=channels
    )
    return cast_like(responses.flatten(2).transpose(0, 1), weight).contiguous()
