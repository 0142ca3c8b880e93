"""Draws what a trained detector sees: `python -m models.backbone look best.pt photo.jpg`, in a patched checkout.

The picture shows the maps of its backbone, and for EfficientViT the attention of one cell, over the photograph.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any, Sequence

from ..contract import Backbone
from ..looking.capture import FeatureMap, backbones_of, blocks_of, capture
from ..looking.checkpoint import open_model
from ..looking.letterbox import Letterbox, letterbox, read_photo
from ..looking.picture import draw, require_format
from .console import print_error, print_line
from .move_files import new_file, require_file

WRONG_ARGUMENTS = 2


def look(
    weights: Path, photo: Path, cell: Sequence[int] | None = None, stage: int | None = None, img_size: int = 640
) -> tuple[Any, str]:
    """Return a figure of a backbone's maps and attention for a photograph, and a line that says what it shows.

    Args:
        weights: a `.pt` that train.py saved.
        photo: an image file.
        cell: the pixel of the photograph from which attention is shown, x and y; the strongest cell of the coarsest
            map if None.
        stage: show all blocks of this stage; the last block of each stage if None.
        img_size: as in detect.py.

    Raises:
        ValueError: an argument cannot be used; the message says why, and what to do.
    """
    require_file(weights, "give the best.pt or last.pt of a training")
    require_file(photo, "give a photograph, such as a .jpg or .png")
    pixels = read_photo(photo)
    require_inside(cell, photo, *pixels.shape[:2])
    model = open_model(weights)
    backbone = find_backbone(model, weights)
    blocks = blocks_of(backbone, stage)
    fitted = letterbox(pixels, img_size, int(max(*backbone.strides, *map(float, getattr(model, "stride", ())))))
    maps, attention = capture(model, backbone, fitted.image, blocks)

    name = f"{type(backbone).__name__} {getattr(backbone, 'model_name', '')}".strip()
    shown = f"the maps of {name}"
    chosen = ""
    if cell is None:
        cell = strongest_pixel(maps[-1], fitted)
        chosen = f", the strongest cell of the map of stride {maps[-1].stride}"
    x, y = fitted.to_image(cell[0] + 0.5, cell[1] + 0.5)
    windows = [block.window_at(x, y) for block in attention]
    if windows:
        shown += f", and the attention of pixel {cell[0]}, {cell[1]}{chosen}"
    rows, columns = fitted.image.shape[2:]
    title = f"{name} of {weights.name}: {photo.name} at {fitted.width}x{fitted.height}, in {columns}x{rows} pixels"
    return draw(fitted, maps, windows, (cell[0], cell[1]), title), shown


def require_inside(cell: Sequence[int] | None, photo: Path, height: int, width: int) -> None:
    """Check that a cell, x and y in pixels, lies in the photograph.

    Raises:
        ValueError: it lies outside.
    """
    if cell is not None and not (0 <= cell[0] < width and 0 <= cell[1] < height):
        raise ValueError(
            f"--cell {cell[0]} {cell[1]} lies outside {photo}, which has {width} x {height} pixels; give x from 0 to "
            f"{width - 1} and y from 0 to {height - 1}"
        )


def find_backbone(model: Any, weights: Path) -> Backbone:
    """Return the backbone of a detector.

    Raises:
        ValueError: there is none, or the model is no detector of colour images.
    """
    backbones = backbones_of(model)
    if not backbones:
        raise ValueError(
            f"{weights} has no backbone of this project in it; give a detector that was trained with one, such as by "
            "--cfg yolov5-efficientvit.yaml"
        )
    if type(model).__name__ == "ClassificationModel":
        raise ValueError(f"{weights} is a classifier, for which YOLOv5 prepares images otherwise; give a detector")
    channels = (getattr(model, "yaml", None) or {}).get("ch", 3)
    if channels != 3:
        raise ValueError(f"{weights} takes images of {channels} channels, and a photograph has 3")
    return backbones[0]


def strongest_pixel(feature_map: FeatureMap, fitted: Letterbox) -> tuple[int, int]:
    """Return the pixel of the photograph, x and y, at the centre of the cell with the largest norm."""
    edges = fitted.left, fitted.top, fitted.left + fitted.width, fitted.top + fitted.height
    return fitted.pixel_at(*feature_map.strongest_cell(*edges))


def unused_name(photo: Path) -> Path:
    """Return an unused file name in the current folder: `photo-look.png`, or else `photo-look-2.png` and so on."""
    names = (Path(f"{photo.stem}-look{f'-{number}' if number > 1 else ''}.png") for number in count(1))
    return next(name for name in names if not name.exists())


def run(weights: Path, photo: Path, output: Path | None = None, **options: Any) -> int:
    """Write the picture, print where it is, and return the exit code: 2 for wrong arguments, 1 for other failures."""
    output = unused_name(photo) if output is None else output
    try:
        picture_format = require_format(output)
        with new_file(output) as file:
            figure, shown = look(weights, photo, **options)
            figure.savefig(file, format=picture_format, dpi=110)
    except ValueError as error:
        print_error(f"Not drawn: {error}")
        return WRONG_ARGUMENTS
    except KeyboardInterrupt:
        print_error("Not drawn: interrupted")
        return 130
    except OSError as error:
        print_error(f"Not drawn: {output} cannot be written ({error.strerror}); make room, or name another place")
        return 1
    except Exception as error:  # users get a message instead of a traceback
        print_error(f"Not drawn: {type(error).__name__}: {error}. This is a bug in look; please report it.")
        return 1
    text = f"{output}: {shown}"
    if not print_line(text):
        print_error(text)
    return 0
