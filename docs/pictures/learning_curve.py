"""The scores of `make demo` by epoch, from benchmarks/results/learning_curve.json."""

from __future__ import annotations

import json
from pathlib import Path

from .svg import Canvas, Palette

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "learning_curve.json"
WIDTH, HEIGHT = 430, 260
LEFT, RIGHT, TOP, BOTTOM = 44, 336, 52, 222  # edges of the plot
STRIDES = {"mAP50": 16, "mAP50-95": 32}  # whose tone each curve takes


def draw(palette: Palette) -> str:
    """Return the picture as SVG."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    curves = result["epochs"]
    epochs = len(curves["mAP50"])
    canvas = Canvas(WIDTH, HEIGHT, palette, "The learning curve of the demonstration: mAP by epoch")
    name = Path(result["model"]).stem
    canvas.text(12, 18, f"{name} from scratch, {result['image_size']} px", size=14, bold=True)
    for step in range(6):
        y = BOTTOM - (BOTTOM - TOP) * step / 5
        canvas.path(f"M{LEFT} {y:g} H{RIGHT}", palette.plain.line, arrow=False, width=0.6, dashed=bool(step))
        canvas.text(LEFT - 8, y, f"{step / 5:.1f}", palette.faint, 11, "end")
    for epoch in range(0, epochs + 1, 10):
        canvas.text(x_of(epoch, epochs), BOTTOM + 15, str(epoch), palette.faint, 11, "middle")
    canvas.text((LEFT + RIGHT) / 2, BOTTOM + 30, "epoch", palette.faint, 11.5, "middle")
    for label, scores in curves.items():
        tone = palette.strides[STRIDES[label]]
        points = [f"{x_of(epoch, epochs):.1f} {y_of(score):.1f}" for epoch, score in enumerate(scores, 1)]
        canvas.path("M" + " L".join(points), tone.line, arrow=False, width=2.2)
        canvas.text(RIGHT + 8, y_of(scores[-1]) - 8, label, tone.text, 12, bold=True)
        canvas.text(RIGHT + 8, y_of(scores[-1]) + 8, f"{scores[-1]:.3f}", tone.text, 12)
    return canvas.svg()


def x_of(epoch: int, epochs: int) -> float:
    """Return the place of an epoch, counted from 1, on the lower axis."""
    return LEFT + (RIGHT - LEFT) * epoch / epochs


def y_of(score: float) -> float:
    """Return the height of a score from 0 to 1."""
    return BOTTOM - (BOTTOM - TOP) * score
