"""How well detectors learn photographs, from benchmarks/results/photographs_models.json: a panel for each recipe."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.photographs.curves import Combination, combinations

from .svg import Canvas, Palette, Tone

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "photographs_models.json"
NAMES = {
    "yolov5-efficientvit": "M0",
    "yolov5-efficientvit-m1": "M1",
    "yolov5-efficientvit-m2": "M2",
    "yolov5n": "yolov5n",
    "yolov5s": "yolov5s",
}
COLUMNS, PANEL_WIDTH, PANEL_HEIGHT = 2, 440, 320
LEFT, RIGHT, TOP, BOTTOM = 46, 318, 30, 262  # edges of a plot in its panel
HEAD = 54  # above the panels


@dataclass(frozen=True)
class Axes:
    """Where a plot lies in the picture, and how far its axes go."""

    x: float
    y: float
    epochs: int
    highest: float

    def place(self, epoch: float, score: float) -> tuple[float, float]:
        """Return the point of a score after an epoch."""
        across, up = epoch / self.epochs, score / self.highest
        return self.x + LEFT + (RIGHT - LEFT) * across, self.y + BOTTOM - (BOTTOM - TOP) * up


def draw(palette: Palette) -> str:
    """Return the picture as SVG."""
    return draw_study(json.loads(RESULT.read_text(encoding="utf-8")), palette)


def draw_study(study: dict[str, Any], palette: Palette) -> str:
    """Return the picture of a study."""
    panels: dict[str, list[Combination]] = {}
    for combination in combinations(study):
        panels.setdefault(combination.recipe, []).append(combination)
    rows = math.ceil(len(panels) / COLUMNS)
    title = f"mAP50-95 by epoch, from scratch, on {study['data set']['val']['images']} photographs not trained on"
    canvas = Canvas(COLUMNS * PANEL_WIDTH, HEAD + rows * PANEL_HEIGHT, palette, title)
    canvas.text(12, 18, title, size=16, bold=True)
    canvas.text(12, 40, "Bold: the median of the seeds. Thin: each seed.", palette.faint, 13)
    scores = [max(curve) for panel in panels.values() for combination in panel for curve in combination.curves()]
    highest = math.ceil(10 * max(scores)) / 10
    for number, (recipe, panel) in enumerate(panels.items()):
        row, column = divmod(number, COLUMNS)
        axes = Axes(column * PANEL_WIDTH, HEAD + row * PANEL_HEIGHT, study["epochs"], highest)
        draw_axes(canvas, axes, recipe)
        draw_curves(canvas, axes, panel)
    return canvas.svg()


def draw_axes(canvas: Canvas, axes: Axes, recipe: str) -> None:
    """Draw the lines of the scores, the epochs below them, and the recipe above."""
    palette = canvas.palette
    for step in range(round(10 * axes.highest) + 1):
        x, y = axes.place(0, step / 10)
        canvas.path(f"M{x:g} {y:g} h{RIGHT - LEFT}", palette.plain.line, arrow=False, width=0.6, dashed=bool(step))
        canvas.text(x - 8, y, f"{step / 10:.1f}", palette.faint, 13, "end")
    for third in range(4):
        epoch = axes.epochs * third // 3
        x, y = axes.place(epoch, 0)
        canvas.text(x, y + 16, str(epoch), palette.faint, 13, "middle")
    x, y = axes.place(axes.epochs / 2, 0)
    canvas.text(x, y + 34, "epochs", palette.faint, 13, "middle")
    canvas.text(axes.x + LEFT, axes.y + 10, recipe, size=14, bold=True)


def draw_curves(canvas: Canvas, axes: Axes, panel: list[Combination]) -> None:
    """Draw each seed's curve, the medians over them, and the medians' ends in words."""
    tones = tones_of(canvas.palette)
    for combination in panel:
        tone = tones[combination.model]
        if len(combination.runs) > 1:
            for curve in combination.curves():
                canvas.path(line(axes, curve), tone.line, arrow=False, width=0.9, opacity=0.4)
    for combination in panel:
        canvas.path(line(axes, combination.median()), tones[combination.model].line, arrow=False, width=2.4)
    by_score = sorted(panel, key=lambda each: -each.median()[-1])
    ends = [axes.place(axes.epochs, combination.median()[-1]) for combination in by_score]
    for combination, (x, y), height in zip(by_score, ends, spread([y for _, y in ends], axes.y + BOTTOM)):
        tone = tones[combination.model]
        canvas.path(f"M{x:.1f} {y:.1f} L{x + 12:.1f} {height:.1f}", tone.line, arrow=False, width=1)
        label = f"{NAMES[combination.model]} {combination.median()[-1]:.3f}"
        canvas.text(x + 16, height, label, tone.text, 14, bold=True)


def spread(heights: list[float], lowest: float, step: float = 18) -> list[float]:
    """Move labels down, and up again from the lowest place, until none covers the one above it."""
    for number in range(1, len(heights)):
        heights[number] = max(heights[number], heights[number - 1] + step)
    for number in reversed(range(len(heights))):
        heights[number] = min(heights[number], lowest)
        lowest = heights[number] - step
    return heights


def line(axes: Axes, curve: list[float]) -> str:
    """Return a curve as the path of an SVG."""
    points = [axes.place(epoch, score) for epoch, score in enumerate(curve, 1)]
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def tones_of(palette: Palette) -> dict[str, Tone]:
    """Return cool tones for our detectors, and warm ones for YOLOv5's."""
    return dict(zip(NAMES, (*palette.strides.values(), palette.detect, palette.pink)))
