"""Writes every picture, light and dark, beside this file."""

from __future__ import annotations

from pathlib import Path

from . import index_rule, learning_curve, network, photographs
from .svg import DARK, LIGHT

FOLDER = Path(__file__).parent
DRAWINGS = {
    "index-rule": index_rule.draw,
    "network": network.draw,
    "learning-curve": learning_curve.draw,
    "photographs": photographs.draw,
}


def pictures(*names: str) -> dict[str, str]:
    """Return pictures, or all of them, as SVG by the name of the file."""
    return {
        f"{name}-{palette.name}.svg": DRAWINGS[name](palette) for name in names or DRAWINGS for palette in (LIGHT, DARK)
    }


def write_pictures(*names: str) -> None:
    """Write pictures, or all of them."""
    for filename, text in pictures(*names).items():
        (FOLDER / filename).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_pictures()
