"""Writes every picture, light and dark, beside this file."""

from __future__ import annotations

from pathlib import Path

from . import index_rule, learning_curve, network
from .svg import DARK, LIGHT

FOLDER = Path(__file__).parent
DRAWINGS = {"index-rule": index_rule.draw, "network": network.draw, "learning-curve": learning_curve.draw}


def pictures() -> dict[str, str]:
    """Return each picture as SVG by the name of its file."""
    return {f"{name}-{palette.name}.svg": draw(palette) for name, draw in DRAWINGS.items() for palette in (LIGHT, DARK)}


if __name__ == "__main__":
    for filename, text in pictures().items():
        (FOLDER / filename).write_text(text, encoding="utf-8")
