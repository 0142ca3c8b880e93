"""Draws the index rule: the rows of models/yolov5-efficientvit.yaml, their layer indices, and which reads which."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import yaml

from models.backbone.registry import backbone_class
from models.backbone.yolo.index_rule import MIN_INDICES, fill_indices
from models.backbone.yolo.rows import BackboneRows

from .svg import Canvas, Palette, Tone

YAML = Path(__file__).parents[2] / "models" / "yolov5-efficientvit.yaml"
ROW = re.compile(r"^  - (\[.*\])(?:\s+#.*)?$")

# all in pixels
STEP, BOX = 29, 23  # from row to row, and height of a row's box
TOP, LEFT = 54, 116  # of the first row's box, right of the arrows
GAP = 14  # between the backbone and the rows below it
NUMBER = 34  # width of a number's box
TEXT = 355  # width of a row's text
HOLDS = LEFT + NUMBER + TEXT + 26  # left edge of the last column


class Layer(NamedTuple):
    """One layer: its index, the text of its yaml row, the layers it reads besides the last one, and its stride."""

    number: int
    text: str
    sources: list[int]
    stride: int | None


def layers() -> list[Layer]:
    """Return the layers of the yaml after the backbone, with indices and strides by the code that runs in YOLOv5."""
    source = YAML.read_text(encoding="utf-8")
    config = yaml.safe_load(source)
    rows = config["backbone"] + config["head"]
    texts = [found[1] for line in source.split("# [from, number")[1].splitlines() if (found := ROW.match(line))]
    host = BackboneRows(lambda line: None)
    channels = host.build(0, -1, 1, rows[0][2], rows[0][3], [3], [], [])
    found_layers = []
    for number, ((origin, _, name, args), text) in enumerate(zip(rows, texts)):
        if number:
            index = host.layer_index(number, origin, name, args, channels)
            sources = [source for source in (origin if isinstance(origin, list) else [origin]) if source != -1]
            stride = host.table.strides[index] if name != "Detect" else None
            found_layers.append(Layer(index, text, sources, int(stride) if stride else None))
            channels = [*channels, 0]
    return found_layers


def top_of(index: int) -> float:
    """Return the upper edge of the box of an index."""
    return TOP + index * STEP + (GAP if index >= MIN_INDICES else 0)


def draw(palette: Palette) -> str:
    """Return the picture as SVG."""
    rest = layers()
    height = top_of(rest[-1].number) + STEP + 4
    title = "A backbone is one yaml row and takes five layer indices; its maps fill the last of them"
    canvas = Canvas(HOLDS + 165, height, palette, title)
    canvas.text(LEFT + NUMBER / 2, TOP - 30, "index", palette.faint, 12, "middle")
    canvas.text(LEFT + NUMBER + 14, TOP - 30, "row of the yaml: [from, number, module, args]", palette.faint, 12)
    canvas.text(HOLDS, TOP - 30, "holds", palette.faint, 12)
    draw_backbone(canvas)
    for layer in rest:
        y = top_of(layer.number)
        tone = tone_of(layer, palette)
        canvas.box(LEFT, y, NUMBER, BOX, tone)
        canvas.text(LEFT + NUMBER / 2, y + BOX / 2, str(layer.number), tone.text, 13, "middle", mono=True, bold=True)
        canvas.text(LEFT + NUMBER + 14, y + BOX / 2, layer.text, size=13, mono=True)
        held = f"stride {layer.stride}" if layer.stride else "detections"
        canvas.text(HOLDS, y + BOX / 2, held, tone.text, 13)
        above = top_of(layer.number - 1) + BOX
        canvas.path(f"M{LEFT + NUMBER / 2:g} {above:g} V{y:g}", palette.plain.line, arrow=False)
    draw_sources(canvas, rest)
    return canvas.svg()


def tone_of(layer: Layer, palette: Palette) -> Tone:
    """Return the colours of a layer's map."""
    return palette.strides[layer.stride] if layer.stride else palette.detect


def backbone_maps() -> list[tuple[int, int] | None]:
    """Return stride and channels of each index of the backbone; None for empty ones."""
    backbone = backbone_class(backbone_name())()
    return fill_indices(list(zip(backbone.strides, backbone.channels)))


def backbone_name() -> str:
    """Return the module of the backbone's row."""
    name: str = yaml.safe_load(YAML.read_text(encoding="utf-8"))["backbone"][0][2]
    return name


def draw_backbone(canvas: Canvas) -> None:
    """Draw the backbone's five indices as one row."""
    palette = canvas.palette
    height = top_of(MIN_INDICES - 1) + BOX - TOP
    canvas.box(LEFT - 7, TOP - 7, NUMBER + TEXT + 14, height + 14, palette.plain, radius=10)
    for index, held in enumerate(backbone_maps()):
        y = top_of(index)
        middle = y + BOX / 2
        tone = palette.strides[held[0]] if held else palette.plain
        canvas.box(LEFT, y, NUMBER, BOX, tone, dashed=not held)
        colour = tone.text if held else palette.faint
        canvas.text(LEFT + NUMBER / 2, middle, str(index), colour, 13, "middle", mono=True, bold=bool(held))
        words = f"stride {held[0]}, {held[1]} channels" if held else "nothing"
        canvas.text(HOLDS, middle, words, colour, 13)
    canvas.text(LEFT + NUMBER + 14, TOP + BOX / 2, f"[-1, 1, {backbone_name()}, []]", size=13, mono=True, bold=True)
    canvas.text(LEFT + NUMBER + 14, top_of(1) + BOX / 2, "one row and one module, five indices:", palette.faint, 13)
    message = "its maps fill the last of them, and the next row is 5"
    canvas.text(LEFT + NUMBER + 14, top_of(2) + BOX / 2, message, palette.faint, 13)


def draw_sources(canvas: Canvas, rest: list[Layer]) -> None:
    """Draw an arrow from each layer that is named in a `from`, the longer ones further to the left."""
    strides = {index: held[0] for index, held in enumerate(backbone_maps()) if held}
    strides.update({layer.number: layer.stride for layer in rest if layer.stride})
    sources = {layer.number: sorted(layer.sources) for layer in rest}
    arrows = sorted(((source, layer.number) for layer in rest for source in layer.sources), key=lambda a: a[1] - a[0])
    lanes: list[list[tuple[int, int]]] = []
    for source, target in arrows:
        free = (number for number, lane in enumerate(lanes) if all(target < a or source > b for a, b in lane))
        number = next(free, len(lanes))
        lanes += [[]] if number == len(lanes) else []
        lanes[number].append((source, target))
        x = LEFT - 30 - 19 * number
        start = top_of(source) + BOX / 2 + 5  # arrows leave below the middle and arrive above it, so that none meet
        end = top_of(target) + BOX / 2 - 5
        if len(sources[target]) > 1:
            rank = sources[target].index(source) - (len(sources[target]) - 1) / 2
            end = top_of(target) + BOX / 2 - 7 * rank
        edge = LEFT - (9 if source < MIN_INDICES else 2)
        d = f"M{edge:g} {start:g} H{x + 8:g} Q{x:g} {start:g} {x:g} {start + 8:g}"
        d += f" V{end - 8:g} Q{x:g} {end:g} {x + 8:g} {end:g} H{LEFT - 2:g}"
        canvas.path(d, canvas.palette.strides[strides[source]].line)
