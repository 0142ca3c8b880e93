"""Cascaded group attention in windows (Liu et al., CVPR 2023, arXiv 2305.07027, section 3.2)."""

from __future__ import annotations

from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..batch_norm import cast_like, in_float64, outside_inference_mode
from ..exporting import is_exporting
from .layers import ConvBN, FoldedConv
from .windows import (
    WINDOW,
    as_planes,
    as_tokens,
    as_windows,
    crop,
    from_planes,
    is_dynamic,
    merge_windows,
    pad_to_windows,
    partition_windows,
)

KEY_DIM = 16


def bias_of_pairs(table: Tensor) -> Tensor:
    """Expand biases by offset, `(heads, 49)`, to the pairs of a window's tokens, `(heads, 49, 49)`.

    Tokens at (y, x) and (y', x') are |y - y'| rows and |x - x'| columns apart: entry 7 * rows + columns of the table.
    """
    position = torch.arange(WINDOW, device=table.device)
    offset = (position[:, None] - position).abs()  # (7, 7)
    pairs = table.reshape(-1, WINDOW, WINDOW)[:, offset[:, None, :, None], offset[:, None, :]]  # (heads, y, x, y', x')
    return pairs.reshape(-1, WINDOW**2, WINDOW**2)


class FusedHead(nn.Module):
    """The constants of one head of a fused `CascadedGroupAttention`.

    Each is a buffer of its own, because several runtimes refuse to split a constant.

    Attributes:
        mixing: the depthwise convolution of the queries as matrices, `(16, 49, 49)`: in a window, which is padded on
            every side, the convolution of a channel is one linear map from tokens to tokens.
        offset: the sum that all biases before the logits add to a query, `(16, 1, 49)`.
        bias: the attention bias of each pair of tokens, `(49, 49)`.
    """

    mixing: Tensor
    offset: Tensor
    bias: Tensor

    def __init__(self, mixing: Tensor, offset: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("mixing", mixing)
        self.register_buffer("offset", offset)
        self.register_buffer("bias", bias)


class CascadedGroupAttention(nn.Module):
    """Self-attention in 7x7 windows whose heads each see their own channels plus the output of the head before.

    `(B, channels, H, W)` to the same shape, any H and W, the skip connection included. A map whose size is no multiple
    of 7 is padded; the padding is attended to like the rest and cropped afterwards, as in the paper's detector.

    Attributes:
        bias: a learned attention bias per head and offset, `(heads, 49)`. Every forward pass gathers it anew, so no
            second copy can have another dtype or be out of date. The name matters: YOLOv5 trains a `bias` without
            weight decay, as the paper does with this one; the patched train.py does so too where v6.1 does not, with
            AdamW. `fuse()` moves it into `fused_heads`.
        fused_heads: once fused, the constants of each head.
        value_bias: once fused, the sum that all biases before the projection add to its input, `(channels, 1, 1)`.
    """

    fused_heads: Any  # a ModuleList of FusedHead
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

    @property
    def fused(self) -> bool:
        """Whether `fuse()` has prepared the forms for inference."""
        return hasattr(self, "fused_heads")

    def set_query_kernels(self, kernels: Sequence[int]) -> None:
        """Replace the queries' depthwise convolutions by new ones, with one kernel size for each head."""
        convolutions = nn.ModuleList(ConvBN(KEY_DIM, KEY_DIM, k, groups=KEY_DIM) for k in kernels)
        self.query_depthwise = convolutions.to(self.bias).train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = pad_to_windows(x)
        # not with dynamic sizes: torch.export would specialise planes to a single window, or a single image
        if self.fused and is_exporting() and not any(map(is_dynamic, x.shape)):
            attended = from_planes(self.attend_planes(as_planes(padded)), padded.shape)
            return x + crop(crop(attended, 2, height), 3, width)
        attend = self.attend_by_products if self.fused else self.attend
        tokens = attend(partition_windows(padded))
        return x + merge_windows(tokens, padded.shape, height, width)

    def probabilities(self, x: Tensor) -> Tensor:
        """Return the attention probabilities, the result of the softmax, for the `x` of `forward`.

        Returns:
            `(B, window rows, window columns, heads, 49, 49)`. The last two dimensions are the query and the key, each
            counted row by row in its window. The last dimension sums to 1.
        """
        padded = pad_to_windows(x)
        kept: list[Tensor] = []
        (self.attend_by_products if self.fused else self.attend)(partition_windows(padded), kept)
        batch, _, height, width = padded.shape
        return torch.stack(kept, 1).reshape(batch, height // WINDOW, width // WINDOW, -1, WINDOW**2, WINDOW**2)

    def attend(self, tokens: Tensor, kept: list[Tensor] | None = None) -> Tensor:
        """Attend within each window of tokens `(N, 49, C)`; same shape.

        Query, key and value are split as tokens, not as maps: their gradients are then joined in channels_last, without
        which the backward pass of a batch norm takes several times as long. The softmax of each head, `(N, 49, 49)`, is
        appended to `kept`, if given.
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
            outputs.append(torch.bmm(softmax(logits, kept), value))  # (N, 49, C / heads)
        return as_tokens(self.project(as_windows(F.relu(torch.cat(outputs, 2), inplace=True))))

    def attend_by_products(self, tokens: Tensor, kept: list[Tensor] | None = None) -> Tensor:
        """Compute what `attend` does, once fused, without a convolution and with few biases.

        On maps as small as windows, setting a convolution up takes longer than computing it, and adding a bias is one
        more pass over the result of a matrix product. `bake_products` explains where the biases go.
        """
        inputs = tokens.split(self.head_channels, dim=2)
        outputs: list[Tensor] = []
        for qkv, head, part in zip(self.qkv, self.fused_heads, inputs):
            x = part + outputs[-1] if outputs else part
            rows = x.reshape(-1, self.head_channels)  # (N * 49, C / heads)
            weight = qkv.weight.flatten(1)
            query = torch.mm(weight[:KEY_DIM], rows.t()).view(KEY_DIM, -1, WINDOW**2)
            query = torch.baddbmm(head.offset, query, head.mixing)  # (16, N, 49)
            key_value = F.linear(rows, weight[KEY_DIM:]).view(-1, WINDOW**2, KEY_DIM + self.head_channels)
            key, value = key_value.split((KEY_DIM, self.head_channels), dim=2)
            logits = torch.baddbmm(head.bias, query.permute(1, 2, 0), key.transpose(1, 2))  # (N, 49, 49)
            outputs.append(torch.bmm(softmax(logits, kept), value))  # (N, 49, C / heads)
        x = F.relu(torch.cat(outputs, 2).add_(self.value_bias.flatten()), inplace=True)
        return F.linear(x, self.project.weight.flatten(1), self.project.bias)

    def attend_planes(self, planes: Tensor) -> Tensor:
        """Compute what `attend_by_products` does, for other runtimes: planes `(B, C, n, 49)` to the same shape.

        It uses four dimensions at most, plain products and convolutions, and no operation on constants alone, because
        NCNN, OpenCV and Paddle fail on one or another alternative. The other forms are faster in PyTorch.
        """
        inputs = planes.split(self.head_channels, dim=1)
        outputs: list[Tensor] = []
        for qkv, head, part in zip(self.qkv, self.fused_heads, inputs):
            x = part + outputs[-1] if outputs else part
            query, key, value = mix_channels(x, qkv.weight).split((KEY_DIM, KEY_DIM, self.head_channels), dim=1)
            query = torch.matmul(query, head.mixing) + head.offset  # (B, 16, n, 49)
            logits = torch.matmul(query.permute(0, 2, 3, 1), key.transpose(1, 2)) + head.bias  # (B, n, 49, 49)
            attention = logits.softmax(-1).transpose(2, 3)
            outputs.append(torch.matmul(value.transpose(1, 2), attention).transpose(1, 2))  # (B, C / heads, n, 49)
        x = F.relu(torch.cat(outputs, 1) + self.value_bias)
        return F.conv2d(x, self.project.weight, self.project.bias)

    def attention_bias(self) -> Tensor:
        """Return the bias for each head and pair of tokens, `(heads, 49, 49)`; not available once fused."""
        return bias_of_pairs(self.bias)

    def fuse(self) -> None:
        """Fold batch norms, biases and the softmax scale into constants; do nothing if that is done.

        The constants do not follow later changes of the weights. No convolution is left, so tools that prune or
        quantise convolutions skip attention; use them before.
        """
        if self.fused:
            return
        with outside_inference_mode(), torch.no_grad():
            self.qkv = nn.ModuleList(map(folded, self.qkv))
            self.query_depthwise = nn.ModuleList(map(folded, self.query_depthwise))
            self.project = folded(self.project)
            for query_depthwise in self.query_depthwise:
                query_depthwise.weight *= self.scale
                query_depthwise.bias *= self.scale
            self.bake_products(self.attention_bias())
            del self.bias

    def bake_products(self, attention_bias: Tensor) -> None:
        """Compute `fused_heads` and `value_bias` from the folded convolutions and `attention_bias`, `(heads, 49, 49)`.

        Key bias: it shifts all logits of a query equally, and softmax ignores a shift, so it is dropped. Value bias:
        the probabilities sum to 1, so it shifts the head's output by exactly its value; it is added to the input of the
        next head and to that of the projection. Query bias: a constant before the convolution is one constant per token
        after it.
        """
        heads: list[FusedHead] = []
        value_biases: list[Tensor] = []
        value_start = 2 * KEY_DIM
        for qkv, query_depthwise, pairs in zip(self.qkv, self.query_depthwise, attention_bias.unbind()):
            bias = in_float64(qkv.bias)
            if value_biases:
                bias = bias + in_float64(qkv.weight).flatten(1) @ value_biases[-1]
            mixing = window_matrices(query_depthwise.weight)
            from_query = bias[:KEY_DIM, None, None] * in_float64(mixing).sum(1, keepdim=True)  # (16, 1, 49)
            offset = cast_like(from_query + in_float64(query_depthwise.bias)[:, None, None], mixing)
            heads.append(FusedHead(mixing, offset, pairs.clone()))
            value_biases.append(bias[value_start:])
        self.fused_heads = nn.ModuleList(heads)
        # not in the constructor, so that networks pickled by earlier versions get it as a buffer too
        self.register_buffer("value_bias", cast_like(torch.cat(value_biases).view(-1, 1, 1), self.project.weight))


def mix_channels(x: Tensor, weight: Tensor) -> Tensor:
    """Apply a 1x1 convolution without bias, weight `(out, in, 1, 1)`, to `(B, in, n, 49)`, in an export."""
    if torch.jit.is_tracing() and not torch.onnx.is_in_onnx_export():  # type: ignore[attr-defined, no-untyped-call]
        return F.conv2d(x, weight)  # NCNN copies the inputs and the result of a matrix product
    out_channels, in_channels = weight.shape[:2]
    batch, _, windows, tokens = x.shape
    # in four dimensions, because OpenVINO 2026.4 cannot run it in int8 in fewer
    x = torch.matmul(weight.reshape(1, 1, out_channels, in_channels), x.reshape(batch, 1, in_channels, -1))
    return x.reshape(batch, out_channels, windows, tokens)


def softmax(logits: Tensor, kept: list[Tensor] | None) -> Tensor:
    """Return the softmax over the last dimension, and append it to `kept`, if given."""
    attention = logits.softmax(-1)
    if kept is not None:
        kept.append(attention)
    return attention


def folded(layer: Any) -> FoldedConv:
    """Fold the batch norm of a `ConvBN`, and return its weight and bias."""
    layer.fuse()
    return FoldedConv(layer.conv)


def window_matrices(weight: Tensor, window: int = WINDOW) -> Tensor:
    """Return a depthwise convolution of zero-padded windows as one matrix per channel, `(C, w * w, w * w)`.

    `tokens @ matrix`, with a channel's tokens as a row, is the convolution with the kernels `weight`, `(C, 1, k, k)`.
    """
    channels, tokens = len(weight), window * window
    kernels = in_float64(weight)  # not every version of torch convolves float16 on the CPU
    impulses = torch.eye(tokens, dtype=kernels.dtype, device=kernels.device).view(tokens, 1, window, window)
    responses = F.conv2d(
        impulses.expand(-1, channels, -1, -1), kernels, padding=kernels.shape[-1] // 2, groups=channels
    )
    return cast_like(responses.flatten(2).transpose(0, 1), weight).contiguous()
