"""The image sizes that a model of timm accepts, and padding to them.

An export must serve every size, also if the example image needs no padding: see `pad_image`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ..exporting import is_exporting

PROBE_SIZE = 256  # pixels, height and width of the image by which YOLOv5 finds its strides
MAX_MISSING_CELLS = 4  # rows or columns that maps may lack if convolutions are not padded (Inception: 3)


class SizeRule(NamedTuple):
    """The image sizes that a model accepts, in pixels: multiples of `step` from `smallest` to `largest`, if not 0."""

    step: int
    smallest: int
    largest: int = 0


def validation_size(image_size: int, largest_stride: int) -> int:
    """Return the largest side, in pixels, of YOLOv5's images in a training with --img-size `image_size`.

    YOLOv5 rounds up to a multiple of its largest stride, at least 32, and its validation adds one stride.
    """
    grid = max(32, largest_stride)
    return max(PROBE_SIZE, (-(-image_size // grid) + 1) * grid)


def size_rules(usual: int) -> list[SizeRule]:
    """Return the rules to try, the most permissive first; YOLOv5's images are multiples of 32 from 32 on.

    Unpadded convolutions need more than 32 pixels. Windows and blocks of attention have to tile a map, and patches of
    14 pixels the image.
    """
    return [SizeRule(32, 32), SizeRule(32, 96), *(SizeRule(step, step) for step in (64, 128, 224, 256, usual))]


def missing_cells(feature_map: Tensor, size: tuple[int, int], stride: int) -> list[int]:
    """Return how many rows and columns a map `(B, C, h, w)` lacks for an image of `size`, height and width."""
    return [-(-pixels // stride) - cells for pixels, cells in zip(size, feature_map.shape[2:])]


def pad_image(x: Tensor, sizes: SizeRule, model_name: str) -> Tensor:
    """Zero-pad an image `(B, C, H, W)` at the bottom and right to the next size that the model accepts.

    In an export it pads by a constant amount and crops. The export then serves all sizes, and onnxslim, which folds a
    dynamic amount wrongly, keeps it right. An image beyond a model's single size is an error there too.

    Raises:
        ValueError: the image is larger than the single size of the model.
    """
    height, width = x.shape[2:]
    if sizes.largest and max(height, width) > sizes.largest:
        side = max(int(height), int(width))
        raise ValueError(
            f"{model_name} is built for images up to {sizes.largest} pixels, this one has {height}x{width}. Use a "
            f"smaller --img-size; or train anew with image_size, the fourth argument of its yaml row, set to {side} "
            "(with --multi-scale to 1.5 times --img-size)"
        )
    rows, columns = padded_side(height, sizes), padded_side(width, sizes)
    if is_exporting():
        margin = max(sizes.step, sizes.smallest) - 1
        x = F.pad(x, (0, margin, 0, margin))[:, :, :rows, :columns]
        return x.expand(-1, -1, sizes.largest, sizes.largest) if sizes.largest else x
    return F.pad(x, (0, columns - width, 0, rows - height)) if (rows, columns) != (height, width) else x


def padded_side(side: int, sizes: SizeRule) -> int:
    """Return the next height or width that the model accepts, by arithmetic: a trace makes `max` a constant."""
    side = (side + sizes.step - 1) // sizes.step * sizes.step
    if sizes.smallest > sizes.step:
        return (side + sizes.smallest + abs(side - sizes.smallest)) // 2  # the larger of the two
    return side


def pad_borders(feature_map: Tensor, height: int, width: int) -> Tensor:
    """Zero-pad a map `(B, C, h, w)` to `(B, C, height, width)` on all sides, where unpadded convolutions lose cells."""
    rows, columns = height - feature_map.shape[2], width - feature_map.shape[3]
    top, left = rows // 2, columns // 2
    if is_exporting():  # by a constant amount, like the image
        margin = MAX_MISSING_CELLS
        top, left = margin - top, margin - left
        bottom, right = top + height, left + width
        return F.pad(feature_map, (margin, margin, margin, margin))[:, :, top:bottom, left:right]
    return F.pad(feature_map, (left, columns - left, top, rows - top)) if rows or columns else feature_map


def describe_sizes(sizes: SizeRule) -> str:
    """Return in words which image sizes a model accepts."""
    if sizes.largest:
        return f"images are padded to {sizes.largest}x{sizes.largest}"
    if sizes.step > 32:
        return f"images are padded to multiples of {sizes.step}"
    return "any image size" if sizes.smallest == sizes.step else f"images are padded to at least {sizes.smallest}"
