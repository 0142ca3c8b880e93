"""Writes the tables of docs/choosing.md from results/: `.venv/bin/python -m benchmarks.choosing_page`.

Each stands between `<!-- NAME -->` and `<!-- end -->`; the text around them is written by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .markdown import table
from .page import machine_of, multiple, spread
from .timing import RESULTS

PAGE = Path("docs/choosing.md")
PAIRS = {
    "yolov5-efficientvit": ("M0", "yolov5n"),
    "yolov5-efficientvit-m2": ("M2", "yolov5s"),
    "yolov5-efficientvit-m5": ("M5", "yolov5m"),
}
FIGURES = {"batch 1": "PyTorch, one image", "batch 8": "PyTorch, 8 images", "training": "PyTorch, a training step"}


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """Return the page with its tables as the results have them."""
    for name, part in {"speed": speed(), "stride": stride(), "timm": timm()}.items():
        pattern = rf"<!-- {name} -->\n.*?<!-- end -->"
        begin, end = re.split(pattern, text, flags=re.DOTALL)
        text = f"{begin}<!-- {name} -->\n\n{part}\n\n<!-- end -->{end}"
    return text


def rows_of(name: str) -> list[dict[str, Any]]:
    """Return the rows of one file of results."""
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    return rows


def processor_of(name: str) -> str:
    """Word what one file of results was measured on."""
    return machine_of(json.loads((RESULTS / f"{name}.json").read_text())["environment"])


def speed() -> str:
    """Our detectors' time by that of the stock detector of about the same use, in PyTorch and in each runtime."""
    by_name = {row["yaml"]: row for row in rows_of("detectors")}
    lines: dict[str, list[float]] = {
        label: [multiple(by_name[ours], what) / multiple(by_name[stock], what) for ours, (_, stock) in PAIRS.items()]
        for what, label in FIGURES.items()
    }
    deployed: dict[str, list[float]] = {}
    for row in rows_of("runtimes"):
        deployed.setdefault(row["runtime"], []).append(row["ratio"]["median"])
    heads = ["", *(f"{variant}, × {stock}" for variant, stock in PAIRS.values())]
    lines.update(deployed)
    body = table(heads, ([name, *(f"{value:.2f}" for value in values)] for name, values in lines.items()))
    ranges = [
        f"{variant} takes {min(values):.2f} to {max(values):.2f} times as long as {stock}"
        for (variant, stock), values in zip(PAIRS.values(), zip(*deployed.values()))
    ]
    return (
        "The time of our detector divided by the time of the stock detector, at 640 px in float32, training at 320 px.\n"
        f"Above 1, ours is slower. In the runtimes, {', '.join(ranges[:-1])},\nand {ranges[-1]}.\n\n{body}\n\n"
        f"PyTorch on {processor_of('detectors')}, by `.venv/bin/python -m benchmarks.detectors`;\nthe runtimes on "
        f"{processor_of('runtimes')}, by `.venv-export/bin/python -m benchmarks.runtimes`. "
        "[Speed and memory](benchmarks.md) has milliseconds, memory and int8."
    )


def stride() -> str:
    """The backbones' time at both strides of the stem."""
    rows = rows_of("backbones")
    body = table(
        ["", "stride 8, ms", "stride 16, ms"],
        (
            [row["backbone"].rpartition("_")[2], f"{row['stride 8 ms']['fused']:.1f}", f"{row['ms']['fused']:.1f}"]
            for row in rows
        ),
    )
    return f"{body}\n\nFused, on {processor_of('backbones')}, by `.venv/bin/python -m benchmarks.backbones`."


def time_of(row: dict[str, Any]) -> float:
    """Return the time of a row of the shortlist, as a multiple of yolov5s's."""
    return float(row["time of yolov5s's"]["median"])


def timm() -> str:
    """The shortlist, beside our detectors and stock ones, by time."""
    rows = sorted(rows_of("timm_shortlist"), key=time_of)
    version = json.loads((RESULTS / "timm_shortlist.json").read_text())["environment"]["timm"]
    body = table(
        ["backbone or yaml", "`width_multiple`", "parameters", "GFLOPs", "× yolov5s"],
        (
            [
                f"`{row['model']}`" + (f", {PAIRS[row['model']][0]}" if row["model"] in PAIRS else ""),
                f"{row['width_multiple']:.2f}" if row["width_multiple"] else "",
                f"{row['parameters'] / 1e6:.1f} M",
                f"{row['gflops']:.1f}",
                spread(row["time of yolov5s's"]),
            ]
            for row in rows
        ),
    )
    return (
        f"{body}\n\ntimm {version}, one image of 640 px, fused, in PyTorch on {processor_of('timm_shortlist')}, by\n"
        "`.venv/bin/python -m benchmarks.timm_shortlist`. The last column is the processor's time as a multiple of "
        "yolov5s's, called in\nturns with it: the median with its quartiles. Compare within this table only: with more\n"
        "threads, or on another processor, the ratios differ."
    )


if __name__ == "__main__":
    main()
