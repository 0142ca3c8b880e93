"""Draws a small data set in YOLO format: shapes over clouds of colour, the same on every machine."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Callable, Mapping, Sequence

from PIL import Image, ImageDraw

CLASSES = ("circle", "square", "triangle", "star")
OTHER_CLASSES = ("hexagon", "cross", "blade", "sun")
SPLITS = {"train": 640, "val": 80, "unseen": 12}
RADII = {  # of the corners of a shape, in their order around its centre
    **{"circle": [1.0] * 48, "square": [1.0] * 4, "triangle": [1.0] * 3, "star": [1.0, 0.42] * 5},
    **{"hexagon": [1.0] * 6, "cross": [1.0, 0.35] * 4, "blade": [1.0, 0.3] * 3, "sun": [1.0, 0.72] * 10},
}
MAX_SHAPES = 4
SUPERSAMPLE = 3  # shapes are drawn this many times larger, so that their edges are smooth

Draw = Callable[[], float]  # a number from 0 to 1


def write_dataset(
    folder: Path,
    size: int,
    counts: Mapping[str, int] = SPLITS,
    classes: Sequence[str] = CLASSES,
) -> Path:
    """Write images of `size` x `size` pixels, labels and data.yaml, and return the path of data.yaml.

    `counts` is the number of images by split; `classes` are the shapes to draw.
    """
    for split, count in counts.items():
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            # only random() gives the same numbers in every version of Python, so it is used for everything
            draw = random.Random(f"{split} {number}").random  # noqa: S311 - no secret depends on it
            image, rows = draw_image(size, draw, classes)
            image.save(images / f"{number:03}.png")
            (labels / f"{number:03}.txt").write_text("".join(rows))
    data = folder / "data.yaml"
    names = ", ".join(classes)
    data.write_text(
        f"path: {folder.resolve()}\n"
        f"train: {folder.resolve()}/images/train\n"
        f"val: {folder.resolve()}/images/val\n"
        f"nc: {len(classes)}\n"
        f"names: [{names}]\n"
    )
    return data


def draw_image(size: int, draw: Draw, classes: Sequence[str]) -> tuple[Image.Image, list[str]]:
    """Return one image and its label rows: class, then centre, width and height as fractions of the image."""
    large = size * SUPERSAMPLE
    image = clouds(draw).resize((large, large), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(image)
    rows: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for _ in range(1 + int(draw() * MAX_SHAPES)):
        class_index = int(draw() * len(classes))
        radius = 0.08 + 0.14 * draw()
        x, y = (radius + (1 - 2 * radius) * draw() for _ in range(2))
        angle = 2 * math.pi * draw()
        colour = tuple(int(256 * draw()) for _ in range(3))
        if any(math.hypot(x - other_x, y - other_y) < radius + other for other_x, other_y, other in taken):
            continue
        taken.append((x, y, radius))
        points = [(x + radius * px, y + radius * py) for px, py in outline(classes[class_index], angle)]
        canvas.polygon([(px * large, py * large) for px, py in points], fill=colour, outline=(255, 255, 255))
        left, right = min(px for px, _ in points), max(px for px, _ in points)
        top, bottom = min(py for _, py in points), max(py for _, py in points)
        box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        rows.append(" ".join([str(class_index), *(f"{value:.6f}" for value in box)]) + "\n")
    return image.resize((size, size)), rows


def clouds(draw: Draw) -> Image.Image:
    """Return a square of muted colours with a random fineness of grain."""
    image = colours(3, draw)
    for cells in (9, 30, 96):
        finer = colours(cells, draw)
        image = Image.blend(image.resize(finer.size, Image.Resampling.BICUBIC), finer, 0.4 * draw())
    grey = image.convert("L").convert("RGB")
    return Image.blend(grey, image, 0.6 * draw())


def colours(cells: int, draw: Draw) -> Image.Image:
    """Return a square of `cells` x `cells` pixels of random colours."""
    return Image.frombytes("RGB", (cells, cells), bytes(int(256 * draw()) for _ in range(3 * cells * cells)))


def outline(name: str, angle: float) -> list[tuple[float, float]]:
    """Return the corners of a shape inside the unit circle, rotated by `angle` in radians."""
    radii = RADII[name]
    turns = (angle + 2 * math.pi * corner / len(radii) for corner in range(len(radii)))
    return [(radius * math.cos(turn), radius * math.sin(turn)) for radius, turn in zip(radii, turns)]
