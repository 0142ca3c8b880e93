"""Draws the pictures of speed from results/: `.venv/bin/python -m benchmarks.plot`.

Each for light pages and for dark: docs/pictures/speed-{light,dark}.svg, of the backbones beside timm's, and
runtimes-{light,dark}.svg, of whole detectors in each runtime beside stock YOLOv5.
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
    mpl.rcParams.update({"svg.hashsalt": "speed", "svg.fonttype": "none", "font.family": "sans-serif"})
    for theme, colours in THEMES.items():
        draw_backbones(PICTURES / f"speed-{theme}.svg", colours)
        draw_runtimes(PICTURES / f"runtimes-{theme}.svg", colours)


def draw_backbones(path: Path, colours: dict[str, Any]) -> None:
    """Draw each backbone, of timm and ours."""
    rows = json.loads((RESULTS / "backbones.json").read_text())["rows"]
    figure, axes = plt.subplots(figsize=(8, 3.2))
    for number, (variant, label) in enumerate(VARIANTS.items()):
        places = [place + 0.27 * (number - 1) for place in range(len(rows))]
        heights = [row["ms"][variant] for row in rows]
        bars = axes.bar(places, heights, 0.25, label=label, color=colours["bars"][number])
        if variant == "fused":
            labels = [f"{row['fused against timm']['median']:.2f}×" for row in rows]
            axes.bar_label(bars, labels, color=colours["text"], fontsize=8, padding=2)
    names = [row["backbone"].rpartition("_")[2] for row in rows]
    axes.set_title("Backbone on a CPU, 2 threads, float32: lower is faster; × timm's speed", fontsize=10)
    finish(figure, axes, names, colours, path)


def draw_runtimes(path: Path, colours: dict[str, Any]) -> None:
    """Draw the detector with M0 and yolov5n in each runtime."""
    rows = json.loads((RESULTS / "runtimes.json").read_text())["rows"]
    rows = [row for row in rows if row["stock"] == "yolov5n" and row["runtime"] != "NCNN, half"]
    figure, axes = plt.subplots(figsize=(8, 3.2))
    for number, (who, label) in enumerate({"stock": "yolov5n", "ours": "yolov5-efficientvit (M0)"}.items()):
        places = [place + 0.38 * (number - 0.5) for place in range(len(rows))]
        bars = axes.bar(places, [row["ms"][who] for row in rows], 0.36, label=label, color=colours["bars"][2 * number])
        if who == "ours":
            labels = [f"{row['ratio']['median']:.2f}×" for row in rows]
            axes.bar_label(bars, labels, color=colours["text"], fontsize=8, padding=2)
    axes.margins(y=0.12)  # for the labels
    names = [row["runtime"].replace(" ", "\n") for row in rows]
    axes.set_title("Whole detector on a CPU, 2 threads, float32: lower is faster; × yolov5n's time", fontsize=10)
    finish(figure, axes, names, colours, path)


def finish(figure: Any, axes: Any, names: list[str], colours: dict[str, Any], path: Path) -> None:
    """Name the groups of bars, colour what is not a bar, and write the picture."""
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("ms per image, 640 px")
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
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
