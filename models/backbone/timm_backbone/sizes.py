"""Which image sizes a model of timm takes, and how an image is padded to them and its maps are cut back.

An export must serve every size, also where the example image needs no padding: see `pad_image`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ..exporting import is_exporting

PROBE_SIZE = 256  # pixels: YOLOv5 finds its strides with an image of this height and width
MOST_MISSING_CELLS = 4  # at the borders of a map, where a model's convolutions have no padding (Inception: 3)


class SizeRule(NamedTuple):
    """The image sizes that a model takes, in pixels: multiples of `step` from `smallest` up, to `largest` if not 0."""

    step: int
    smallest: int
    largest: int = 0


def validation_size(image_size: int, largest_stride: int) -> int:
    """Return the largest side, in pixels, that YOLOv5 makes of images when it trains with --img-size `image_size`.

    It rounds up to its grid (its largest stride, at least 32), and its validation adds one cell of it.
    """
    grid = max(32, largest_stride)
    return max(PROBE_SIZE, (-(-image_size // grid) + 1) * grid)


def size_rules(usual: int) -> list[SizeRule]:
    """Return what to try, the fewest demands first; YOLOv5 feeds multiples of 32, from 32 up.

    Unpadded convolutions leave nothing of 32 pixels; windows and blocks of attention want maps that they tile, patches
    of 14 pixels images that they tile.
    """
    return [SizeRule(32, 32), SizeRule(32, 96), *(SizeRule(step, step) for step in (64, 128, 224, 256, usual))]


def missing_cells(feature_map: Tensor, size: tuple[int, int], stride: int) -> list[int]:
    """Return how many rows and columns a map `(B, C, h, w)` has less than an image of this height and width gives."""
    return [-(-pixels // stride) - cells for pixels, cells in zip(size, feature_map.shape[2:])]


def pad_image(x: Tensor, sizes: SizeRule, model_name: str) -> Tensor:
    """Zero-pad an image `(B, C, H, W)` at the bottom and right to the next size that the model takes.

    Exported, it pads by a constant amount and cuts: the export then serves all sizes, and onnxslim, which folds a
    varying amount wrongly, keeps it right. An image beyond the one size of a model is an error there too.

    Raises:
        ValueError: the image is larger than the one size of its model.
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
        most = max(sizes.step, sizes.smallest) - 1
        x = F.pad(x, (0, most, 0, most))[:, :, :rows, :columns]
        return x.expand(-1, -1, sizes.largest, sizes.largest) if sizes.largest else x
    return F.pad(x, (0, columns - width, 0, rows - height)) if (rows, columns) != (height, width) else x


def padded_side(side: int, sizes: SizeRule) -> int:
    """Return the next height or width that the model takes, by arithmetic: a trace freezes what `max` decides."""
    side = (side + sizes.step - 1) // sizes.step * sizes.step
    if sizes.smallest > sizes.step:
        return (side + sizes.smallest + abs(side - sizes.smallest)) // 2  # the larger of the two
    return side


def fill_borders(feature_map: Tensor, height: int, width: int) -> Tensor:
    """Zero-pad `(B, C, h, w)` evenly to `(B, C, height, width)`: unpadded convolutions lose cells on all sides."""
    rows, columns = height - feature_map.shape[2], width - feature_map.shape[3]
    top, left = rows // 2, columns // 2
    if is_exporting():  # by a constant amount, as the image
        most = MOST_MISSING_CELLS
        top, left = most - top, most - left
        bottom, right = top + height, left + width
        return F.pad(feature_map, (most, most, most, most))[:, :, top:bottom, left:right]
    return F.pad(feature_map, (left, columns - left, top, rows - top)) if rows or columns else feature_map


def describe_sizes(sizes: SizeRule) -> str:
    """Say in words which image sizes a model takes."""
    if sizes.largest:
        return f"images are padded to {sizes.largest}x{sizes.largest}"
    if sizes.step > 32:
        return f"images are padded to multiples of {sizes.step}"
    return "any image size" if sizes.smallest == sizes.step else f"images are padded to at least {sizes.smallest}"
