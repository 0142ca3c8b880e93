"""Fits a photograph into the input image of a detector, as YOLOv5 does, and converts coordinates between the two."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

GREY = 114  # of YOLOv5's border


class Letterbox(NamedTuple):
    """A photograph in the input image of a network: resized, with a grey border around it.

    Attributes:
        photo: the photograph in RGB, `(height, width, 3)`.
        image: the input of the network, `(1, 3, H, W)`, from 0 to 1.
        left, top: widths of the border, in pixels of the image.
        width, height: size of the photograph, in pixels of the image.
    """

    photo: Any
    image: Tensor
    left: int
    top: int
    width: int
    height: int

    def to_photo(self, x: float, y: float) -> tuple[float, float]:
        """Convert a point from pixels of the image to pixels of the photograph."""
        height, width = self.photo.shape[:2]
        return (x - self.left) * width / self.width, (y - self.top) * height / self.height

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """Convert a point from pixels of the photograph to pixels of the image."""
        height, width = self.photo.shape[:2]
        return self.left + x * self.width / width, self.top + y * self.height / height

    def pixel_at(self, x: float, y: float) -> tuple[int, int]:
        """Return column and row of the photograph's pixel that is nearest to a point of the image."""
        height, width = self.photo.shape[:2]
        column, row = map(int, self.to_photo(x, y))
        return min(max(column, 0), width - 1), min(max(row, 0), height - 1)


def read_photo(path: Path) -> Any:
    """Return a photograph in RGB as `(height, width, 3)`, rotated by its EXIF orientation.

    Raises:
        ValueError: OpenCV, with which YOLOv5 reads images, cannot read the file.
    """
    import cv2

    content = np.frombuffer(path.read_bytes(), np.uint8)  # cv2.imread() cannot open every name on Windows
    try:
        photo: Any = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except cv2.error:  # for an empty file, or an image of too many pixels
        photo = None
    if photo is None:
        raise ValueError(f"{path} is no image that OpenCV reads; give a photograph, such as a .jpg or .png")
    return np.ascontiguousarray(photo[..., ::-1])


def letterbox(photo: Any, size: int, stride: int) -> Letterbox:
    """Fit a photograph into an image as YOLOv5's detect.py does: resize its longer side to `size`, and add a border.

    Args:
        photo: `(height, width, 3)`.
        size: of the longer side, in pixels; rounded up to a multiple of the stride.
        stride: both sides of the image are multiples of it, with the smallest possible border.
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
