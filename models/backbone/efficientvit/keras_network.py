"""EfficientViT in Keras, for YOLOv5's export to TensorFlow formats: made from a PyTorch backbone, for inference only.

Maps are `(B, H, W, C)`, as in the host's models/tf.py. As there, H and W are fixed when a model is built; B may be
dynamic. No tensor has more than four dimensions, and TFLite has every operation built in.

This is the only module that imports TensorFlow, and only an export imports it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable

import numpy as np
import tensorflow as tf
from tensorflow import keras
from torch import Tensor, nn

from ..contract import KerasBackbone
from ..normalization import Normalization
from .attention import KEY_DIM, CascadedGroupAttention
from .layers import ConvBN, FeedForward, FoldedConv, PatchMerging, SqueezeExcite
from .windows import WINDOW


class KerasEfficientViT(keras.layers.Layer, KerasBackbone):
    """A fused EfficientViT: `(B, H, W, in_channels)` to one map `(B, H / stride, W / stride, C)` each.

    Args:
        normalization, stem, stages: those of a fused PyTorch backbone.
    """

    def __init__(self, normalization: Normalization, stem: nn.Module, stages: Iterable[nn.Module]) -> None:
        super().__init__()
        factors = () if normalization.is_neutral else (normalization.scale, normalization.shift)
        self.factors = [tf.constant(array(factor.permute(0, 2, 3, 1))) for factor in factors]  # (1, 1, 1, C) each
        self.stem = keras_layer(stem)
        self.stages = [keras_layer(stage) for stage in stages]

    def call(self, x: Any) -> list[Any]:
        """Return the maps, finest first."""
        if self.factors:
            x = x * self.factors[0] + self.factors[1]
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class KerasConv(keras.layers.Layer):
    """A convolution, plain or depthwise, with an odd kernel size and half of it as padding on all sides.

    `(B, H, W, in)` to `(B, ceil(H / stride), ceil(W / stride), out)`.
    """

    def __init__(self, conv: nn.Conv2d | FoldedConv) -> None:
        super().__init__()
        assert conv.bias is not None
        assert conv.groups in (1, conv.in_channels)
        # the SAME padding of a strided convolution depends on the size of the map, unlike PyTorch's
        strided = conv.stride[0] > 1
        self.pad = conv.kernel_size[0] // 2 if strided else 0
        settings = {
            "kernel_size": conv.kernel_size,
            "strides": conv.stride,
            "padding": "valid" if strided else "same",
            "bias_initializer": constant(conv.bias),
        }
        if conv.groups == 1:
            kernel = constant(conv.weight.permute(2, 3, 1, 0))  # (k, k, in, out)
            self.conv = keras.layers.Conv2D(conv.out_channels, kernel_initializer=kernel, **settings)
        else:
            kernel = constant(conv.weight.permute(2, 3, 0, 1))  # (k, k, channels, 1)
            self.conv = keras.layers.DepthwiseConv2D(depthwise_initializer=kernel, **settings)

    def call(self, x: Any) -> Any:
        """Apply the convolution."""
        if self.pad:
            x = tf.pad(x, [[0, 0], [self.pad, self.pad], [self.pad, self.pad], [0, 0]])
        return self.conv(x)


class KerasFeedForward(keras.layers.Layer):
    """`x + project(relu(expand(x)))`; same shape."""

    def __init__(self, layer: FeedForward) -> None:
        super().__init__()
        self.expand, self.project = keras_layer(layer.expand), keras_layer(layer.project)

    def call(self, x: Any) -> Any:
        """Apply the feed-forward layer."""
        return x + self.project(tf.nn.relu(self.expand(x)))


class KerasSqueezeExcite(keras.layers.Layer):
    """Scale each channel by a gate computed from all channels' means; same shape."""

    def __init__(self, layer: SqueezeExcite) -> None:
        super().__init__()
        self.reduce, self.expand = keras_layer(layer.reduce), keras_layer(layer.expand)

    def call(self, x: Any) -> Any:
        """Scale the channels."""
        means = tf.reduce_mean(x, axis=(1, 2), keepdims=True)  # (B, 1, 1, C)
        return x * tf.sigmoid(self.expand(tf.nn.relu(self.reduce(means))))


class KerasPatchMerging(keras.layers.Layer):
    """Halve the map: `(B, H, W, in)` to `(B, H / 2, W / 2, out)`."""

    def __init__(self, layer: PatchMerging) -> None:
        super().__init__()
        self.expand, self.depthwise = keras_layer(layer.expand), keras_layer(layer.depthwise)
        self.squeeze_excite, self.project = keras_layer(layer.squeeze_excite), keras_layer(layer.project)

    def call(self, x: Any) -> Any:
        """Halve the map."""
        x = tf.nn.relu(self.depthwise(tf.nn.relu(self.expand(x))))
        return self.project(self.squeeze_excite(x))


class KerasAttention(keras.layers.Layer):
    """Cascaded group attention in windows, the skip connection included, `(B, H, W, C)` to the same shape."""

    def __init__(self, layer: CascadedGroupAttention) -> None:
        super().__init__()
        self.head_channels = layer.head_channels
        self.qkv = [keras_layer(conv) for conv in layer.qkv]
        self.query_depthwise = [keras_layer(conv) for conv in layer.query_depthwise]
        self.project = keras_layer(layer.project)
        self.biases = [tf.constant(array(head.bias)) for head in layer.fused_heads]  # (49, 49) each

    def call(self, x: Any) -> Any:
        """Attend within each window; the map is zero-padded at the bottom and right, as in PyTorch."""
        height, width = x.shape[1:3]
        padded = tf.pad(x, [[0, 0], [0, -height % WINDOW], [0, -width % WINDOW], [0, 0]])
        windows = self.attend(partition_windows(padded))
        return x + merge_windows(windows, *padded.shape[1:3])[:, :height, :width]

    def attend(self, windows: Any) -> Any:
        """Attend within each window `(N, 7, 7, C)`; same shape."""
        outputs: list[Any] = []
        inputs = tf.split(windows, len(self.biases), axis=3)
        for qkv, query_depthwise, bias, part in zip(self.qkv, self.query_depthwise, self.biases, inputs):
            x = part + outputs[-1] if outputs else part
            query, key, value = tf.split(qkv(x), [KEY_DIM, KEY_DIM, self.head_channels], axis=3)
            logits = tf.matmul(tokens(query_depthwise(query)), tokens(key), transpose_b=True) + bias  # (N, 49, 49)
            x = tf.matmul(tf.nn.softmax(logits), tokens(value))  # (N, 49, C / heads)
            outputs.append(tf.reshape(x, [-1, WINDOW, WINDOW, self.head_channels]))
        return self.project(tf.nn.relu(tf.concat(outputs, 3)))


def partition_windows(x: Any) -> Any:
    """Partition `(B, H, W, C)`, H and W multiples of 7, into windows `(B * H/7 * W/7, 7, 7, C)`.

    A row of a window shares one dimension with its channels, so that four dimensions are enough.
    """
    width, channels = x.shape[2:4]
    x = tf.reshape(x, [-1, WINDOW, width // WINDOW, WINDOW * channels])  # (B * H/7, 7, W/7, 7 C)
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, WINDOW, WINDOW, channels])


def merge_windows(windows: Any, height: int, width: int) -> Any:
    """Undo `partition_windows`: windows `(B * H/7 * W/7, 7, 7, C)` to `(B, height, width, C)`."""
    channels = windows.shape[3]
    x = tf.reshape(windows, [-1, width // WINDOW, WINDOW, WINDOW * channels])  # (B * H/7, W/7, 7, 7 C)
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, height, width, channels])


def tokens(windows: Any) -> Any:
    """Flatten windows `(N, 7, 7, C)` to tokens `(N, 49, C)`."""
    return tf.reshape(windows, [-1, WINDOW * WINDOW, windows.shape[3]])


def keras_layer(module: nn.Module) -> Any:
    """Return the Keras layer that computes what a fused PyTorch module of EfficientViT does."""
    if isinstance(module, ConvBN):
        assert module.fused
        return KerasConv(module.conv)
    if isinstance(module, nn.Sequential):
        return keras.Sequential([keras_layer(part) for part in module])
    layers: dict[type[nn.Module], Callable[[Any], Any]] = {
        nn.Conv2d: KerasConv,
        FoldedConv: KerasConv,
        nn.ReLU: lambda _: keras.layers.ReLU(),
        FeedForward: KerasFeedForward,
        SqueezeExcite: KerasSqueezeExcite,
        PatchMerging: KerasPatchMerging,
        CascadedGroupAttention: KerasAttention,
    }
    return layers[type(module)](module)


def array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return the values of a tensor."""
    return tensor.detach().numpy()


def constant(tensor: Tensor) -> Any:
    """Return an initializer that gives a Keras weight the values of a tensor."""
    return keras.initializers.Constant(array(tensor))
