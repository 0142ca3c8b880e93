"""Tiles pictures into one."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from PIL import Image, ImageOps

TILE = 320  # pixels
GAP = 8
COLUMNS = 4


def write_contact_sheet(pictures: Sequence[Path], target: Path) -> None:
    """Write the pictures, cut to squares, as one JPEG."""
    rows = -(-len(pictures) // COLUMNS)
    pitch = TILE + GAP
    sheet = Image.new("RGB", (COLUMNS * pitch + GAP, rows * pitch + GAP), "white")
    for number, path in enumerate(pictures):
        with Image.open(path) as picture:
            tile = ImageOps.fit(picture.convert("RGB"), (TILE, TILE))
        sheet.paste(tile, (GAP + number % COLUMNS * pitch, GAP + number // COLUMNS * pitch))
    sheet.save(target, quality=92)
