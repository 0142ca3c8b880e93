"""Draws the README's picture of speed from results/backbones.json: `.venv/bin/python -m benchmarks.plot`.

One picture for light pages and one for dark, docs/pictures/speed-{light,dark}.svg.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from .timing import RESULTS

PICTURES = Path("docs/pictures")
VARIANTS = {"timm": "timm", "timm fused": "timm, batch norms folded", "fused": "ours, fused"}
THEMES: dict[str, dict[str, Any]] = {
    "light": {"text": "#1f2328", "lines": "#d1d9e0", "bars": ["#b6bec9", "#818b98", "#0969da"]},
    "dark": {"text": "#e6edf3", "lines": "#3d444d", "bars": ["#4a5361", "#8b949e", "#4493f8"]},
}


def main() -> None:
    """Draw both."""
    rows = json.loads((RESULTS / "backbones.json").read_text())["rows"]
    mpl.rcParams.update({"svg.hashsalt": "speed", "svg.fonttype": "none", "font.family": "sans-serif"})
    for theme, colours in THEMES.items():
        figure, axes = plt.subplots(figsize=(8, 3.2))
        for number, (variant, label) in enumerate(VARIANTS.items()):
            places = [place + 0.27 * (number - 1) for place in range(len(rows))]
            heights = [row["ms"][variant] for row in rows]
            bars = axes.bar(places, heights, 0.25, label=label, color=colours["bars"][number])
            if variant == "fused":
                labels = [f"{row['fused against timm']['median']:.2f}×" for row in rows]
                axes.bar_label(bars, labels, color=colours["text"], fontsize=8, padding=2)
        axes.set_xticks(range(len(rows)), [row["backbone"].rpartition("_")[2] for row in rows])
        axes.set_ylabel("ms per image, 640 px")
        axes.set_title("Backbone on a CPU, 2 threads, float32: lower is faster; × timm's speed", fontsize=10)
        axes.tick_params(colors=colours["text"])
        for text in (axes.yaxis.label, axes.title):
            text.set_color(colours["text"])
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(colours["lines"])
        axes.grid(axis="y", color=colours["lines"], linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, labelcolor=colours["text"], fontsize=9)
        figure.tight_layout()
        figure.savefig(PICTURES / f"speed-{theme}.svg", transparent=True, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
