"""Draws the scores of `make demo` by minutes of training, from benchmarks/results/learning_curve.json."""

from __future__ import annotations

import json
from pathlib import Path

from .svg import Canvas, Palette

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "learning_curve.json"
WIDTH, HEIGHT = 430, 260
LEFT, RIGHT, TOP, BOTTOM = 44, 300, 52, 222  # edges of the plot


def draw(palette: Palette) -> str:
    """Return the picture as SVG."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    canvas = Canvas(WIDTH, HEIGHT, palette, "The learning curves of the demonstration: mAP50 by minutes of training")
    canvas.text(12, 18, f"mAP50 from scratch, {result['image_size']} px, two CPU cores", size=14, bold=True)
    for step in range(6):
        y = y_of(step / 5)
        canvas.path(f"M{LEFT} {y:g} H{RIGHT}", palette.plain.line, arrow=False, width=0.6, dashed=bool(step))
        canvas.text(LEFT - 8, y, f"{step / 5:.1f}", palette.faint, 11, "end")
    longest = max(model["minutes"] for model in result["models"])
    for minute in range(int(longest) + 1):
        canvas.text(x_of(minute / longest), BOTTOM + 15, str(minute), palette.faint, 11, "middle")
    canvas.text((LEFT + RIGHT) / 2, BOTTOM + 30, "minutes", palette.faint, 11.5, "middle")
    label_y = 0.0
    models = list(zip(result["models"], (palette.strides[16], palette.detect)))
    for model, tone in sorted(models, key=lambda each: -each[0]["mAP50"][-1]):  # labels from the top down
        scores = model["mAP50"]
        share = model["minutes"] / longest / len(scores)  # of the axis, per epoch
        points = [f"{x_of(epoch * share):.1f} {y_of(score):.1f}" for epoch, score in enumerate(scores, 1)]
        canvas.path("M" + " L".join(points), tone.line, arrow=False, width=2.2)
        label_y = max(y_of(scores[-1]), label_y + 18)
        label = f"{Path(model['model']).stem.replace('yolov5-', '')} {scores[-1]:.3f}"
        canvas.text(RIGHT + 8, label_y, label, tone.text, 12, bold=True)
    return canvas.svg()


def x_of(fraction: float) -> float:
    """Return the x coordinate of a fraction of the longest training."""
    return LEFT + (RIGHT - LEFT) * fraction


def y_of(score: float) -> float:
    """Return the y coordinate of a score from 0 to 1."""
    return BOTTOM - (BOTTOM - TOP) * score
