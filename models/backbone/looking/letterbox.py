"""A photograph as YOLOv5 feeds it to a detector, and where its pixels are in that."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

GREY = 114  # of YOLOv5's border


class Letterbox(NamedTuple):
    """A photograph in the image that a network gets: shrunk or enlarged, with a grey border around it.

    Attributes:
        photo: the photograph, `(height, width, 3)`, red first.
        image: what the network gets, `(1, 3, H, W)`, from 0 to 1.
        left, top: pixels of the image's border before the photograph.
        width, height: pixels that the photograph has in the image.
    """

    photo: Any
    image: Tensor
    left: int
    top: int
    width: int
    height: int

    def to_photo(self, x: float, y: float) -> tuple[float, float]:
        """Return where a place of the image is in the photograph, in pixels of the latter."""
        height, width = self.photo.shape[:2]
        return (x - self.left) * width / self.width, (y - self.top) * height / self.height

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """Return where a place of the photograph is in the image, in pixels of the latter."""
        height, width = self.photo.shape[:2]
        return self.left + x * self.width / width, self.top + y * self.height / height

    def pixel_at(self, x: float, y: float) -> tuple[int, int]:
        """Return the photograph's pixel, column and row, that is the nearest to a place of the image."""
        height, width = self.photo.shape[:2]
        column, row = map(int, self.to_photo(x, y))
        return min(max(column, 0), width - 1), min(max(row, 0), height - 1)


def read_photo(path: Path) -> Any:
    """Return a photograph as `(height, width, 3)`, red first, turned as its camera was held.

    Raises:
        ValueError: OpenCV, by which YOLOv5 reads its images, cannot read the file.
    """
    import cv2

    content = np.frombuffer(path.read_bytes(), np.uint8)  # cv2.imread() cannot open every name on Windows
    try:
        photo: Any = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except cv2.error:  # of an empty file, or of an image of too many pixels
        photo = None
    if photo is None:
        raise ValueError(f"{path} is no image that OpenCV reads; give a photograph, such as a .jpg or .png")
    return np.ascontiguousarray(photo[..., ::-1])


def letterbox(photo: Any, size: int, stride: int) -> Letterbox:
    """Fit a photograph into an image as YOLOv5's detect.py does: its longer side becomes `size`, the rest a border.

    Args:
        photo: `(height, width, 3)`.
        size: of the longer side, in pixels; rounded up to a multiple of the stride.
        stride: what both sides of the image are a multiple of, with as little border as that takes.
    """
    import cv2

    size = math.ceil(size / stride) * stride
    ratio = size / max(photo.shape[:2])
    height, width = (max(1, round(side * ratio)) for side in photo.shape[:2])
    if (height, width) != photo.shape[:2]:
        resized: Any = cv2.resize(photo, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        resized = photo
    rows, columns = (math.ceil(side / stride) * stride for side in (height, width))
    top, left = (rows - height) // 2, (columns - width) // 2
    padded = np.full((rows, columns, 3), GREY, np.uint8)
    padded[top : top + height, left : left + width] = resized
    image = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    return Letterbox(photo, image, left, top, width, height)
