"""Normalises images as in the training of the weights: subtracts a mean from each channel, and divides by a deviation.

YOLOv5 feeds images from 0 to 1. Published weights were trained on normalised ones, so a backbone that loads them
normalises before its stem. The zero padding of convolutions then still stands for the mean colour.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .exporting import is_exporting

BILLION = 10**9
NORMALIZE_ADVICE = "write True for those of the weights, False for none, or [[mean, ...], [deviation, ...]]"


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel of an image whose values go from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of_channels(self, count: int) -> Statistics:
        """Return the statistics of `count` channels, as timm extends a first convolution trained on three.

        For one channel timm sums the weights of the colours, so the values are averaged here. For more channels the
        values repeat.
        """
        if count == 1:
            return Statistics(*((sum(values) / len(values),) for values in self))
        return Statistics(*(tuple(values[channel % len(values)] for channel in range(count)) for values in self))


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # the usual ones, in torchvision and timm too
NEUTRAL = Statistics((0.0,), (1.0,))


def statistics_from_buffers(mean: Tensor, std: Tensor) -> Statistics:
    """Return the statistics in the two integer buffers of a `Normalization`."""
    return Statistics(*(tuple(value / BILLION for value in tensor.tolist()) for tensor in (mean, std)))


class Normalization(nn.Module):
    """Subtract a mean from each channel and divide by a deviation, `(B, C, H, W)` to the same shape.

    The statistics are integer buffers, in billionths: no parameter is added, `state_dict` and pickles contain them, and
    `half()` or a moving average of the weights, which change floating-point tensors, leave them exact. Loading a
    `state_dict` replaces them, also after `fuse()`.

    Args:
        channels: number of channels of the image.
        statistics: for any number of channels; see `Statistics.of_channels`.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, channels: int, statistics: Statistics = NEUTRAL) -> None:
        super().__init__()
        self.fused = False
        mean, std = statistics.of_channels(channels)
        self.register_buffer("mean", torch.tensor([round(value * BILLION) for value in mean]))
        self.register_buffer("std", torch.tensor([round(value * BILLION) for value in std]))
        # computed here, because comparing values in forward() would make the host wait for a GPU
        self.is_neutral = Statistics(mean, std) == NEUTRAL.of_channels(channels)

    def statistics(self) -> Statistics:
        """Return mean and deviation."""
        return statistics_from_buffers(self.mean, self.std)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.fused = False  # the factors belong to the previous statistics
        if not self.mean.is_meta:
            self.is_neutral = self.statistics() == NEUTRAL.of_channels(len(self.mean))

    def forward(self, x: Tensor) -> Tensor:
        if self.is_neutral:
            return x
        scale, shift = (self.scale, self.shift) if self.fused else self.factors(x.dtype)
        if is_exporting():
            return x * scale + shift  # supported by every runtime
        scale, shift = scale.flatten(), shift.flatten()
        # the only function of PyTorch that does this in a single pass at the speed of memory
        return F.batch_norm(x, torch.zeros_like(shift), torch.ones_like(scale), scale, shift, eps=0.0)

    def factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the scale and the shift for an image of this dtype, `(1, C, 1, 1)` each."""
        wide = torch.promote_types(dtype, torch.float32)  # the integers are too large for half precision
        mean, std = (tensor.to(wide).reshape(1, -1, 1, 1) / BILLION for tensor in (self.mean, self.std))
        return (1 / std).to(dtype), (-mean / std).to(dtype)

    def fuse(self, dtype: torch.dtype) -> None:
        """Compute the factors once, for a network of this dtype."""
        if not self.fused:
            scale, shift = self.factors(dtype)
            self.register_buffer("scale", scale, persistent=False)
            self.register_buffer("shift", shift, persistent=False)
            self.fused = True

    def describe(self) -> str:
        """Return the normalisation in words, for the log."""
        if self.is_neutral:
            return "images as they are, not normalised"
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in self.statistics())
        return f"images normalised by mean {mean} and deviation {std}"


def chosen_statistics(name: str, normalize: Any, channels: int, trained_on: Statistics) -> Statistics:
    """Return the statistics for a backbone.

    Args:
        name: of the backbone's class, for messages.
        normalize: the argument of a yaml row: True for those of the weights, False for none, or two lists, the means
            and the deviations of the channels.
        channels: number of channels of the image.
        trained_on: the statistics of the images that the weights were trained on.

    Raises:
        ValueError: `normalize` is none of these.
    """
    if isinstance(normalize, bool):
        return trained_on if normalize else NEUTRAL
    if not (is_list(normalize) and len(normalize) == 2 and all(map(is_list, normalize))):
        raise ValueError(f"{name}: normalize cannot be {normalize!r}; {NORMALIZE_ADVICE}")
    for what, values in zip(("mean", "deviation"), normalize):
        if len(values) != channels:
            raise ValueError(f"{name}: the {what} in normalize has {len(values)} values and the image {channels}")
        if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
            raise ValueError(f"{name}: the {what} in normalize holds what is no number: {values!r}")
    if min(normalize[1]) * BILLION < 1:
        raise ValueError(f"{name}: the deviation in normalize must be above 0, not {normalize[1]!r}")
    return Statistics(*(tuple(map(float, values)) for values in normalize))


def is_list(value: Any) -> bool:
    """Whether a value of a yaml row is a list."""
    return isinstance(value, Sequence) and not isinstance(value, str)
