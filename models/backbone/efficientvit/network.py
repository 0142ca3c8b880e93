"""EfficientViT M0 to M5 as YOLOv5 backbones.

Liu et al., EfficientViT: Memory Efficient Vision Transformer with Cascaded Group Attention, CVPR 2023,
arXiv 2305.07027. Not the network of the same name from MIT (arXiv 2205.14756).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

import torch
from torch import Tensor, nn

from ..batch_norm import make_plain, outside_inference_mode
from ..exporting import is_exporting
from ..frozen import FreezableBackbone, checked_epochs, freeze, freeze_again, pause
from ..normalization import NEUTRAL, Normalization, chosen_statistics, is_list
from .attention import CascadedGroupAttention
from .layers import ConvBN, FeedForward, PatchMerging, ResidualDepthwise
from .weights import Checkpoint, load_all, load_checkpoint, query_kernels_of, widths_of


class Variant(NamedTuple):
    """One row of the paper's table 2; `query_kernels` has one kernel size per head, in the order of the cascade."""

    widths: tuple[int, int, int]
    depths: tuple[int, int, int]
    heads: tuple[int, int, int]
    query_kernels: tuple[int, ...]
    timm_name: str


NUM_STAGES = 3


class Block(nn.Sequential):
    """The sandwich of the paper's figure 6: attention between depthwise convolutions and feed-forward layers."""

    def __init__(self, channels: int, query_kernels: Sequence[int]) -> None:
        super().__init__()
        self.depthwise1 = ResidualDepthwise(channels, bn_weight=0.0)
        self.feed_forward1 = FeedForward(channels)
        self.attention = CascadedGroupAttention(channels, query_kernels)
        self.depthwise2 = ResidualDepthwise(channels, bn_weight=0.0)
        self.feed_forward2 = FeedForward(channels)


class Downsample(nn.Sequential):
    """The layers between two stages: patch merging in a sandwich, `(B, in, H, W)` to `(B, out, H / 2, W / 2)`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise1 = ResidualDepthwise(in_channels, bn_weight=1.0)
        self.feed_forward1 = FeedForward(in_channels)
        self.merging = PatchMerging(in_channels, out_channels)
        self.depthwise2 = ResidualDepthwise(out_channels, bn_weight=1.0)
        self.feed_forward2 = FeedForward(out_channels)


class Stage(nn.Sequential):
    """Blocks of one width, after the downsampling from the previous stage, if there is one."""

    def __init__(self, in_channels: int, channels: int, depth: int, query_kernels: Sequence[int]) -> None:
        super().__init__()
        if in_channels:
            self.downsample = Downsample(in_channels, channels)
        self.blocks = nn.Sequential(*(Block(channels, query_kernels) for _ in range(depth)))


class Stem(nn.Sequential):
    """Overlapping patch embedding: 3x3 convolutions that take `(B, in, H, W)` to `(B, out, H / stride, W / stride)`."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(in_channels, out_channels // 8, 3, stride=2)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = ConvBN(out_channels // 8, out_channels // 4, 3, stride=2)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = ConvBN(out_channels // 4, out_channels // 2, 3, stride=2)
        self.relu3 = nn.ReLU(inplace=True)
        self.conv4 = ConvBN(out_channels // 2, out_channels, 3, stride=stride // 8)


class EfficientViT(FreezableBackbone):
    """The network common to M0 to M5; build one of the subclasses, or your own with a `variant`.

    `(B, in_channels, H, W)` to three maps, at strides 8, 16, 32, or 16, 32, 64 with `stem_stride=16`. Any H and W.

    Args:
        in_channels: number of channels of the image.
        weights: path of a checkpoint to start from: the authors', timm's, one of this network, or a whole YOLOv5 `.pt`
            with this backbone; True to fetch timm's ImageNet weights; "", None or False for random weights. The
            checkpoint decides the query kernels. A network that has loaded weights starts in eval mode: YOLOv5 finds
            its strides by a forward pass of a black image, which must not change the batch-norm statistics.
        frozen_stages: how many parts to freeze, starting at the image: 0 for none, 1 for the stem, 2 to 4 for the stem
            and 1 to 3 stages. Their batch-norm statistics are frozen too.
        stem_stride: stride of the first map: 8 for detection, or 16, the geometry of the published classifiers.
        normalize: True to normalise images as in the training of the weights: with ImageNet's mean and deviation for
            published weights, not at all for random ones and for a YOLOv5 `.pt` that was trained without; False never
            to normalise; or `[[mean, ...], [deviation, ...]]` of each channel, for images from 0 to 1.
        query_kernels: the kernel size of each head's query convolution, in the order of the cascade. None for those of
            the weights, or without weights those of the paper's detectors.
        frozen_epochs: for how many epochs of training the parts of `frozen_stages` are frozen, or all parts if
            `frozen_stages` is 0; afterwards everything trains. 0 keeps the parts frozen.

    Raises:
        ValueError: an argument is out of its range, or the checkpoint does not fit; the message says which.
    """

    variant: Variant

    def __init__(
        self,
        in_channels: int = 3,
        weights: str | Path | bool | None = "",
        frozen_stages: int = 0,
        stem_stride: int = 8,
        normalize: bool | Sequence[Sequence[float]] = True,
        query_kernels: Sequence[int] | None = None,
        frozen_epochs: int = 0,
    ) -> None:
        super().__init__()
        name, variant = type(self).__name__, self.variant
        check_arguments(name, weights, frozen_stages, stem_stride)
        kernels = variant.query_kernels if query_kernels is None else checked_kernels(name, variant, query_kernels)
        self.channels = variant.widths
        self.strides = (stem_stride, 2 * stem_stride, 4 * stem_stride)
        self.frozen_epochs = checked_epochs(name, frozen_epochs)
        self.frozen_stages = frozen_stages or (1 + NUM_STAGES if frozen_epochs else 0)

        self.stem = Stem(in_channels, variant.widths[0], stem_stride)
        stage_inputs = (0, *variant.widths[:-1])
        self.stages = nn.ModuleList(
            Stage(in_width, width, depth, kernels[:heads])
            for in_width, width, depth, heads in zip(stage_inputs, variant.widths, variant.depths, variant.heads)
        )
        checkpoint = load_checkpoint(weights, variant.timm_name, self.state_dict()) if weights else None
        statistics = chosen_statistics(name, normalize, in_channels, checkpoint.statistics if checkpoint else NEUTRAL)
        if checkpoint:
            require_variant(name, variant, checkpoint)
            if query_kernels is None:
                self.fit(checkpoint.state)
            self.notes = load_all(self, checkpoint)
        self.normalization = Normalization(in_channels, statistics)
        if checkpoint or not self.normalization.is_neutral:
            self.notes = f"{self.notes or f'{name}: random weights'}; {self.normalization.describe()}"
        self.stay_frozen()
        self.train(not checkpoint)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(as_channels_last(self.normalization(x)))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def frozen_modules(self) -> tuple[nn.Module, ...]:
        return (self.stem, *self.stages)[: self.frozen_stages]

    def freeze_parts(self) -> None:
        for part in self.frozen_modules():
            (pause if self.frozen_epochs else freeze)(part)

    def fit(self, state: Mapping[str, Tensor]) -> str:
        kernels = query_kernels_of(state)
        if kernels == query_kernels_of(self.state_dict()) or len(kernels) != max(self.variant.heads):
            return ""
        for module in self.modules():
            if isinstance(module, CascadedGroupAttention):
                module.set_query_kernels(kernels[: len(module.qkv)])
        freeze_again(self)
        return f"query kernels {', '.join(map(str, kernels))} as in the checkpoint"

    def to_keras(self) -> Any:
        """Return the Keras layer that computes the same maps; the backbone itself stays as it is."""
        from .keras_network import KerasEfficientViT

        fused = copy.deepcopy(self).cpu().float().eval().fuse()
        return KerasEfficientViT(fused.normalization, fused.stem, fused.stages)

    def fuse(self) -> EfficientViT:
        """Fold batch norms, skip connections of depthwise convolutions, attention biases and the softmax scale."""
        with outside_inference_mode():
            self.normalization.fuse(next(self.parameters()).dtype)
            for module in list(self.modules()):
                make_plain(module)
                if isinstance(module, (ConvBN, CascadedGroupAttention)):
                    module.fuse()
        return self


def check_arguments(name: str, weights: Any, frozen_stages: Any, stem_stride: Any) -> None:
    """Check arguments of a yaml row.

    Raises:
        ValueError: one is out of its range; the message says what it may be.
    """
    if type(frozen_stages) is not int or not 0 <= frozen_stages <= 1 + NUM_STAGES:
        raise ValueError(f"{name}: frozen_stages must be 0 to {1 + NUM_STAGES}, not {frozen_stages!r}")
    if stem_stride not in (8, 16):
        raise ValueError(f"{name}: stem_stride must be 8 or 16, not {stem_stride!r}")
    if not (weights is None or isinstance(weights, (str, Path, bool))):
        raise ValueError(f"{name}: weights must be the path of a checkpoint, True or '', not {weights!r}")


def as_channels_last(x: Tensor) -> Tensor:
    """Return an image or map `(B, C, H, W)` in the memory layout in which the network is fastest."""
    if is_exporting():
        return x.contiguous(memory_format=torch.channels_last)
    # the same, by operations that torch.func.vmap supports
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def checked_kernels(name: str, variant: Variant, query_kernels: Sequence[int]) -> tuple[int, ...]:
    """Return the query kernels of a yaml row as a tuple.

    Raises:
        ValueError: they are no odd kernel sizes, or not one for each head.
    """
    heads = max(variant.heads)
    is_one_per_head = is_list(query_kernels) and len(query_kernels) == heads
    if not (is_one_per_head and all(type(size) is int and size > 0 and size % 2 for size in query_kernels)):
        raise ValueError(
            f"{name}: query_kernels must be {heads} odd numbers such as [7, 5, 3, 3], not {query_kernels!r}"
        )
    return tuple(query_kernels)


def require_variant(name: str, variant: Variant, checkpoint: Checkpoint) -> None:
    """Check that a checkpoint does not belong to another variant.

    Raises:
        ValueError: it does; the message names that variant.
    """
    widths = widths_of(checkpoint.state)
    for other_name, other in VARIANTS.items():
        if widths == other.widths != variant.widths:
            raise ValueError(
                f"{name}: {checkpoint.source} holds the weights of {other_name}; name {other_name} in the yaml row, or "
                f"give a checkpoint of {name}"
            )


class EfficientViT_M0(EfficientViT):
    """2.2 M parameters, 64, 128 and 192 channels."""

    variant = Variant((64, 128, 192), (1, 2, 3), (4, 4, 4), (7, 5, 3, 3), "efficientvit_m0")


class EfficientViT_M1(EfficientViT):
    """2.8 M parameters, 128, 144 and 192 channels."""

    variant = Variant((128, 144, 192), (1, 2, 3), (2, 3, 3), (7, 5, 3, 3), "efficientvit_m1")


class EfficientViT_M2(EfficientViT):
    """4.0 M parameters, 128, 192 and 224 channels."""

    variant = Variant((128, 192, 224), (1, 2, 3), (4, 3, 2), (7, 5, 3, 3), "efficientvit_m2")


class EfficientViT_M3(EfficientViT):
    """6.6 M parameters, 128, 240 and 320 channels."""

    variant = Variant((128, 240, 320), (1, 2, 3), (4, 3, 4), (5, 5, 5, 5), "efficientvit_m3")


class EfficientViT_M4(EfficientViT):
    """8.4 M parameters, 128, 256 and 384 channels."""

    variant = Variant((128, 256, 384), (1, 2, 3), (4, 4, 4), (7, 5, 3, 3), "efficientvit_m4")


class EfficientViT_M5(EfficientViT):
    """12.1 M parameters, 192, 288 and 384 channels."""

    variant = Variant((192, 288, 384), (1, 3, 4), (3, 3, 4), (7, 5, 3, 3), "efficientvit_m5")


VARIANTS: dict[str, Variant] = {
    backbone.__name__: backbone.variant
    for backbone in (
        *(EfficientViT_M0, EfficientViT_M1, EfficientViT_M2),
        *(EfficientViT_M3, EfficientViT_M4, EfficientViT_M5),
    )
}
