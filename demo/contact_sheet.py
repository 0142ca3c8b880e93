"""Tiles pictures with their detections into one.

YOLOv5 draws on the picture as it is, and at 96 pixels its text is larger than a shape. Here the pictures are enlarged
first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

import matplotlib
from PIL import Image, ImageDraw, ImageFont

TILE = 240  # pixels
GAP = 3
COLUMNS = 6
COLOURS = ("#0f9d7a", "#1f6feb", "#8250df", "#e16f24")  # of the classes in their order


class Detection(NamedTuple):
    """A class, a box with centre, width and height as fractions of the picture, and a confidence."""

    class_index: int
    x: float
    y: float
    width: float
    height: float
    confidence: float


def write_contact_sheet(pictures: Sequence[Path], labels: Path, classes: Sequence[str], target: Path) -> None:
    """Write the square pictures with the boxes that YOLOv5's `--save-txt --save-conf` left in `labels`."""
    rows = -(-len(pictures) // COLUMNS)
    pitch = TILE + GAP
    sheet = Image.new("RGB", (COLUMNS * pitch - GAP, rows * pitch - GAP), "gray")
    for number, path in enumerate(pictures):
        with Image.open(path) as picture:
            tile = tile_of(picture.convert("RGB"), list(read_detections(labels / f"{path.stem}.txt")), classes)
        sheet.paste(tile, (number % COLUMNS * pitch, number // COLUMNS * pitch))
    sheet.save(target, quality=80)


def read_detections(path: Path) -> Iterator[Detection]:
    """Yield the detections of one picture; if there are none, YOLOv5 writes no file."""
    for line in path.read_text().splitlines() if path.is_file() else ():
        class_index, *numbers = line.split()
        yield Detection(int(class_index), *map(float, numbers))


def tile_of(picture: Image.Image, detections: Sequence[Detection], classes: Sequence[str]) -> Image.Image:
    """Return a square picture as a tile with its boxes."""
    tile = picture.resize((TILE, TILE), Image.Resampling.BICUBIC)
    for detection in sorted(detections, key=lambda each: each.confidence):
        draw_box(tile, detection, classes[detection.class_index])
    return tile


def draw_box(tile: Image.Image, detection: Detection, name: str) -> None:
    """Draw a box on a tile, with its name above it, or below it at the upper edge of the tile."""
    draw = ImageDraw.Draw(tile)
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf")), 14)
    colour = COLOURS[detection.class_index % len(COLOURS)]
    centre_x, centre_y = detection.x * TILE, detection.y * TILE
    half_width, half_height = detection.width * TILE / 2, detection.height * TILE / 2
    left, top, bottom = centre_x - half_width, centre_y - half_height, centre_y + half_height
    draw.rectangle((left, top, centre_x + half_width, bottom), outline=colour, width=3)
    text = f"{name} {detection.confidence:.2f}"
    width = draw.textlength(text, font=font) + 8
    x = max(0, min(left, TILE - width))
    y = top - 20 if top >= 20 else min(bottom, TILE - 20)
    draw.rectangle((x, y, x + width, y + 20), fill=colour)
    draw.text((x + 4, y + 2), text, fill="white", font=font)
