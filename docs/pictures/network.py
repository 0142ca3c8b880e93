"""Draws the network from the modules of the backbone: stages and maps, a block, and cascaded group attention."""

from __future__ import annotations

from typing import Any

from models.backbone.efficientvit.attention import KEY_DIM
from models.backbone.efficientvit.network import VARIANTS
from models.backbone.efficientvit.windows import WINDOW
from models.backbone.registry import backbone_class

from .svg import Canvas, Palette, Tone

NAME = "EfficientViT_M0"
SIZE = 640  # pixels; height and width of the image whose maps are shown
WIDTH, HEIGHT = 880, 664
COLUMNS = {"stem": 150, 8: 318, 16: 516, 32: 714}  # centre of each part; stages by their stride
NAMES = {
    "depthwise1": "depthwise 3×3",
    "feed_forward1": "feed-forward",
    "attention": "cascaded group attention",
    "depthwise2": "depthwise 3×3",
    "feed_forward2": "feed-forward",
}


def draw(palette: Palette) -> str:
    """Return the picture as SVG."""
    backbone: Any = backbone_class(NAME)()
    canvas = Canvas(WIDTH, HEIGHT, palette, "EfficientViT as a backbone: stages and maps, a block, and its attention")
    draw_stages(canvas, backbone)
    draw_variants(canvas)
    block: Any = backbone.stages[0].blocks[0]
    draw_block(canvas, block)
    draw_attention(canvas, block.attention)
    return canvas.svg()


def draw_stages(canvas: Canvas, backbone: Any) -> None:
    """Draw the stem and the stages in a row, each stage with its map below."""
    palette, y = canvas.palette, 74
    canvas.text(20, 22, f"The backbone, {NAME}, and its maps of an image of {SIZE}×{SIZE}", size=15, bold=True)
    canvas.text(20, y, "image", size=13)
    canvas.text(20, y + 18, f"3×{SIZE}×{SIZE}", palette.faint, 11.5, mono=True)
    convs = [part for name, part in backbone.stem.named_children() if name.startswith("conv")]
    draw_part(canvas, COLUMNS["stem"], y, 108, "stem", f"{len(convs)} convs 3×3", palette.plain)
    canvas.path(f"M76 {y} H{COLUMNS['stem'] - 55}", palette.faint)
    before = COLUMNS["stem"] + 54
    for number, (stage, stride, channels) in enumerate(zip(backbone.stages, backbone.strides, backbone.channels), 1):
        x, tone, depth = COLUMNS[stride], palette.strides[stride], len(stage.blocks)
        does = "halve, " if hasattr(stage, "downsample") else ""
        draw_part(canvas, x, y, 134, f"stage {number}", f"{does}{depth} block{'s' * (depth > 1)}", tone)
        canvas.path(f"M{before} {y} H{x - 68}", palette.faint)
        before = x + 67
        canvas.path(f"M{x} {y + 27} V{y + 51}", tone.line)
        canvas.text(x, y + 63, f"stride {stride}", tone.text, 13, "middle", bold=True)
        shape = f"{channels}×{SIZE // stride}×{SIZE // stride}"
        canvas.text(x, y + 80, shape, tone.text, 11.5, "middle", mono=True)


def draw_part(canvas: Canvas, x: float, y: float, width: float, name: str, message: str, tone: Tone) -> None:
    """Draw a box around `(x, y)` with a name and a line below it."""
    canvas.box(x - width / 2, y - 27, width, 54, tone, radius=8)
    canvas.text(x, y - 9, name, tone.text, 13.5, "middle", bold=True)
    canvas.text(x, y + 11, message, tone.text, 12, "middle")


def draw_variants(canvas: Canvas) -> None:
    """Write channels, blocks and heads of every variant, each column below its stage."""
    palette, top, step = canvas.palette, 186, 20
    canvas.text(20, top, "channels × blocks, heads", palette.faint, 12)
    for row, (name, variant) in enumerate(VARIANTS.items(), 1):
        y = top + row * step
        canvas.text(COLUMNS["stem"], y, name.split("_")[1], size=12.5, anchor="middle", bold=name == NAME)
        columns = zip((8, 16, 32), variant.widths, variant.depths, variant.heads)
        for stride, width, depth, heads in columns:
            message = f"{width} × {depth}, {heads}"
            canvas.text(COLUMNS[stride], y, message, palette.strides[stride].text, 12.5, "middle", mono=True)


def draw_block(canvas: Canvas, block: Any) -> None:
    """Draw a block's layers in a row, each with its skip connection."""
    palette, y = canvas.palette, 396
    canvas.text(20, 338, "A block: the sandwich", size=15, bold=True)
    x = 46.0
    canvas.path(f"M20 {y} H{x - 1}", palette.faint)
    for name, _ in block.named_children():
        attends = name == "attention"
        width = 212 if attends else 120
        tone = palette.strides[16] if attends else palette.plain
        canvas.box(x, y - 19, width, 38, tone, radius=8)
        canvas.text(x + width / 2, y, NAMES[name], tone.text, 13, "middle", bold=attends)
        canvas.path(f"M{x - 11} {y} V{y - 33} H{x + width + 9} V{y - 3}", palette.faint, width=1.2)
        canvas.path(f"M{x + width} {y} H{x + width + 26}", palette.faint)
        x += width + 27


def draw_attention(canvas: Canvas, attention: Any) -> None:
    """Draw the heads one below the other, with the cascade between them."""
    palette, top, step = canvas.palette, 484, 48
    heads = len(attention.qkv)
    share = attention.head_channels
    title = f"Its attention, in windows of {WINDOW}×{WINDOW}: each head adds the output of the one before to its share"
    canvas.text(20, 448, title, size=15, bold=True)
    tone = palette.strides[16]
    bottom = top + (heads - 1) * step
    canvas.box(20, top - 17, 92, bottom - top + 34, palette.plain, radius=8)
    canvas.text(66, (top + bottom) / 2 - 10, f"{heads * share} channels", size=12, anchor="middle")
    canvas.text(66, (top + bottom) / 2 + 8, f"{heads} shares", palette.faint, 12, "middle")
    canvas.box(720, top - 17, 140, bottom - top + 34, palette.plain, radius=8)
    for line, words in enumerate(("concatenate,", "ReLU,", "project 1×1")):
        canvas.text(790, (top + bottom) / 2 + 19 * (line - 1), words, size=12.5, anchor="middle")
    for head in range(heads):
        y = top + head * step
        kernel = attention.query_depthwise[head].conv.kernel_size[0]
        canvas.path(f"M112 {y} H{166 if head else 199}", palette.faint)
        canvas.text(126, y - 8, str(share), palette.faint, 11, mono=True)
        if head:
            canvas.box(167, y - 10, 20, 20, palette.plain, radius=10)
            canvas.text(177, y, "+", size=14, anchor="middle", bold=True)
            canvas.path(f"M187 {y} H199", palette.faint)
            # from the output of the previous head
            canvas.path(f"M684 {y - step} V{y - step / 2} H177 V{y - 11}", tone.line)
        canvas.box(200, y - 15, 132, 30, tone, radius=7)
        canvas.text(266, y, f"q {KEY_DIM}, k {KEY_DIM}, v {share}", tone.text, 12, "middle", mono=True)
        canvas.path(f"M332 {y} H349", palette.faint)
        canvas.box(350, y - 15, 132, 30, tone, radius=7)
        canvas.text(416, y, f"q: depthwise {kernel}×{kernel}", tone.text, 12, "middle")
        canvas.path(f"M482 {y} H499", palette.faint)
        canvas.box(500, y - 15, 164, 30, tone, radius=7)
        canvas.text(582, y, "softmax(qk + bias) v", tone.text, 12, "middle")
        canvas.path(f"M664 {y} H719", palette.faint)
