"""Any model of timm that gives feature maps as a YOLOv5 backbone, by one yaml row.

timm: https://github.com/huggingface/pytorch-image-models. The row is `[-1, 1, TimmBackbone, [model_name, weights,
strides, image_size]]`, all but the name optional.
"""

from __future__ import annotations

import logging
from typing import Any, Sequence

import torch.nn.functional as F
from torch import Tensor

from .contract import Backbone
from .timm_adapt import caches_biases, drop_idle, forget_biases, keep_as_built, restore_synced_activations
from .timm_fuse import count_norms, fuse_model
from .timm_plan import SizeRule, make_plan, maps_of
from .timm_weights import build_model

LOGGER = logging.getLogger(__name__)

DEFAULT_STRIDES = (8, 16, 32)


class TimmBackbone(Backbone):
    """A model of timm, `(B, in_channels, H, W)` to one map `(B, channels[k], ceil(H / strides[k]), ...)` per stride.

    Where the model wants sizes of its own, such as multiples of its attention windows, the image is padded with zeros
    at the bottom and right, and the maps are cut back.

    It starts in eval mode, with or without weights: YOLOv5 finds its strides by a forward pass of one black image,
    which would move the batch-norm statistics, and on which batch norms of pooled maps cannot train at all.

    Args:
        in_channels: channels of the image.
        model_name: what `timm.create_model` takes, with or without the tag of its weights.
        weights: False for random ones, True for those of timm's hub, or the path of a `.safetensors`, `.pth` or `.bin`
            file of a timm model.
        strides: of the maps, ascending. Of levels that share a stride the deepest is taken.
        image_size: height and width in pixels to build the model for, where its windows or tables depend on it; None
            for what it was published for. A model that takes one size only is built for 640 or this, and smaller images
            are padded to it.

    Raises:
        ValueError: timm does not know the name, the model has no map of a stride, cannot take images of several sizes,
            or the weights do not fit; the message says which, and what there is instead.
    """

    def __init__(
        self,
        in_channels: int,
        model_name: str,
        weights: bool | str | None = False,
        strides: Sequence[int] = DEFAULT_STRIDES,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        check_row(model_name, weights, strides, image_size)
        plan = make_plan(model_name, in_channels, strides, image_size)
        self.model_name, self.in_channels = model_name, in_channels
        self.channels, self.strides, self.sizes = plan.channels, plan.strides, plan.sizes
        self.fused = False
        self.net = build_model(model_name, plan.options, weights)
        drop_idle(self.net, plan)
        keep_as_built(self.net)
        self.caches_biases = caches_biases(self.net)
        self.notes = f"TimmBackbone: {model_name}, {told(weights)}, {sizes_told(plan.sizes)}"
        self.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        height, width = x.shape[2:]
        x = pad_image(x, self.sizes, self.model_name)
        maps = maps_of(self.net, x)
        if self.caches_biases:
            forget_biases(self.net)
        fitted = []
        for stride, feature_map in zip(self.strides, maps):
            whole = fill_borders(feature_map, -(-x.shape[2] // stride), -(-x.shape[3] // stride))
            fitted.append(whole[:, :, : -(-height // stride), : -(-width // stride)])
        return fitted

    def train(self, mode: bool = True) -> TimmBackbone:
        """Set the mode as every module does; YOLOv5 calls this at the start of each epoch."""
        restore_synced_activations(self)
        super().train(mode)
        return self

    def fuse(self) -> TimmBackbone:
        """Let timm merge what it can merge, and fold batch norms into the convolutions that feed nothing else."""
        if not self.fused:
            before = count_norms(self.net)
            fuse_model(self.net, (1, self.in_channels, self.sizes.smallest, self.sizes.smallest))
            self.fused = True
            if before and count_norms(self.net) == before:
                LOGGER.warning(
                    f"TimmBackbone: none of the {before} batch norms of {self.model_name} directly follows a "
                    "convolution, so none could be folded into one. They stay; the results are right."
                )
        return self


def check_row(model_name: Any, weights: Any, strides: Any, image_size: Any) -> None:
    """Check the types of a row's arguments.

    Raises:
        ValueError: one is not of its type; the message shows how it is written.
    """
    if not (isinstance(model_name, str) and model_name):
        raise ValueError(f"TimmBackbone: the first argument is the name of a timm model, not {model_name!r}")
    if not (weights is None or isinstance(weights, (bool, str))):
        raise ValueError(f"TimmBackbone: weights must be False, True or the path of a file, not {weights!r}")
    is_list = isinstance(strides, (list, tuple)) and all(type(stride) is int for stride in strides)
    if not (is_list and strides and list(strides) == sorted(set(strides))):
        raise ValueError(f"TimmBackbone: strides must be ascending integers such as [8, 16, 32], not {strides!r}")
    if not (image_size is None or (type(image_size) is int and image_size > 0)):
        raise ValueError(f"TimmBackbone: image_size must be a number of pixels, not {image_size!r}")


def pad_image(x: Tensor, sizes: SizeRule, model_name: str) -> Tensor:
    """Zero-pad an image `(B, C, H, W)` at the bottom and right to the next size that the model takes.

    Raises:
        ValueError: the image is larger than the one size of its model.
    """
    height, width = x.shape[2:]
    if sizes.largest and max(height, width) > sizes.largest:
        raise ValueError(
            f"{model_name} takes images up to {sizes.largest} pixels, this one has {height}x{width}; set image_size, "
            "the fourth argument of its yaml row, to the largest size you train and detect with"
        )
    bottom = max(sizes.smallest, -(-height // sizes.step) * sizes.step) - height
    right = max(sizes.smallest, -(-width // sizes.step) * sizes.step) - width
    return F.pad(x, (0, right, 0, bottom)) if bottom or right else x


def fill_borders(feature_map: Tensor, height: int, width: int) -> Tensor:
    """Zero-pad `(B, C, h, w)` evenly to `(B, C, height, width)`: unpadded convolutions lose cells on all sides."""
    rows, columns = height - feature_map.shape[2], width - feature_map.shape[3]
    if not (rows or columns):
        return feature_map
    left, top = columns // 2, rows // 2
    return F.pad(feature_map, (left, columns - left, top, rows - top))


def told(weights: bool | str | None) -> str:
    """Say in words which weights a model has."""
    if not weights:
        return "random weights"
    return "weights of timm's hub" if weights is True else f"weights of {weights}"


def sizes_told(sizes: SizeRule) -> str:
    """Say in words which image sizes a model takes."""
    if sizes.largest:
        return f"images are padded to {sizes.largest}x{sizes.largest}"
    if sizes.step > 32:
        return f"images are padded to multiples of {sizes.step}"
    return "any image size" if sizes.smallest == sizes.step else f"images are padded to at least {sizes.smallest}"
