"""Writes docs/benchmarks.md from the figures in results/: `.venv/bin/python -m benchmarks.page`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from .gpu.table import tables_of
from .markdown import table
from .operators import KINDS
from .page_text import TEXT
from .timing import RESULTS

PAGE = Path("docs/benchmarks.md")


MEASURED = ("backbones", "operators", "compiled", "detectors", "scaling", "exports", "runtimes", "int8", "formats")
PEERS = {"": "yolov5n", "-m1": "yolov5n", "-m2": "yolov5s", "-m3": "yolov5s", "-m4": "yolov5s", "-m5": "yolov5m"}


def main() -> None:
    """Write the page."""
    PAGE.write_text(text(), encoding="utf-8")


def text() -> str:
    """Return the page."""
    backbones = read("backbones")
    environment = backbones["environment"]
    parts = {
        **{f"{name}_machine": machine_of(read(name)["environment"]) for name in MEASURED},
        "image_size": environment["image_size"],
        "training_batch": environment["training_batch"],
        "passes": environment["passes"],
        "against_timm": against_timm(backbones["rows"]),
        "against_limit": against_limit(backbones["rows"]),
        "limit": round(statistics.median(row["limit gflops per second"] for row in backbones["rows"])),
        "operators": operators(read("operators")["rows"]),
        "convolution_rate": convolution_rate(read("operators")["rows"][0]),
        "compiled": compiled(read("compiled")["rows"]),
        "detectors": detectors(read("detectors")["rows"]),
        "scaling": scaling(read("scaling")["rows"]),
        **rises(read("scaling")["rows"]),
        "exports": exports(read("exports")["rows"]),
        "runtimes": runtimes(read("runtimes")["rows"]),
        "gpu": tables_of(RESULTS / "gpu") or "Not measured yet: no GPU was at hand.",
        "formats": formats(read("formats")),
        "int8": int8(read("int8")["rows"]),
        "int8_data": read("int8")["environment"]["data"],
        "int8_size": read("int8")["environment"]["image_size"],
    }
    return TEXT.format(**parts)


def read(name: str) -> Any:
    """Return the content of results/NAME.json."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def convolution_rate(row: dict[str, Any]) -> int:
    """Return the GFLOP/s of the convolutions alone."""
    return round(row["convolution gflops"] / (row["ms"] / 1000 * row["convolutions"] / 100))


def machine_of(environment: dict[str, Any]) -> str:
    """Return in words what figures were measured on."""
    processor = environment["processor"].replace("(R)", "").replace(" Processor", "")
    threads = "1 thread" if environment["threads"] == 1 else f"{environment['threads']} threads"
    return f"{threads} of an {processor} with torch {environment['torch'].partition('+')[0]}"


def rises(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return by how much M5's time for a GFLOP rises at its largest image and batch, as text."""
    time = {(row["image_size"], row["batch"]): row["ms per gflop"] for row in rows if short(row["backbone"]) == "M5"}
    large, batch = time[1280, 1] / time[896, 1], time[640, 16] / time[640, 4]
    return {"rise_large": f"{100 * (large - 1):.0f} %", "rise_batch": f"{100 * (batch - 1):.0f} %"}


def spread(ratio: dict[str, float]) -> str:
    """Format a ratio and its quartiles."""
    return f"{ratio['median']:.2f} ({ratio['from']:.2f} - {ratio['to']:.2f})"


def short(name: str) -> str:
    """Return M0 of EfficientViT_M0."""
    return name.rpartition("_")[2]


def against_timm(rows: list[dict[str, Any]]) -> str:
    """Return the table of timm's backbones and ours: inference, and training with its memory."""
    heads = ["", "timm, ms", "timm fused", "ours, eval", "ours, fused", "× timm", "× timm fused"]
    heads += ["training × timm", "training MiB, timm", "ours"]
    return table(
        heads,
        (
            [
                short(row["backbone"]),
                *(f"{row['ms'][variant]:.1f}" for variant in ("timm", "timm fused", "eval", "fused")),
                spread(row["fused against timm"]),
                spread(row["fused against timm fused"]),
                spread(row["training against timm"]),
                *(f"{row['training MiB'][variant]:.0f}" for variant in ("timm", "ours")),
            ]
            for row in rows
        ),
    )


def against_limit(rows: list[dict[str, Any]]) -> str:
    """Return the table of the fused form beside the plain one and the machine's limit."""
    heads = ["", "GFLOPs", "plain, ms", "fused, ms", "× plain", "share of the limit"]
    return table(
        heads,
        (
            [
                short(row["backbone"]),
                f"{row['stride 8 gflops']:.1f}",
                *(f"{row['stride 8 ms'][variant]:.1f}" for variant in ("plain", "fused")),
                spread(row["fused against plain"]),
                f"{100 * row['share of the limit']:.0f} %",
            ]
            for row in rows
        ),
    )


def operators(rows: list[dict[str, Any]]) -> str:
    """Return the table of the shares of M0's operators."""
    kinds = [*KINDS, "the rest"]
    return table(["", *kinds], ([row["what"], *(row[kind] for kind in kinds)] for row in rows))


def compiled(rows: list[dict[str, Any]]) -> str:
    """Return the table of ours and timm's under torch.compile, and of ours beside the plain form."""
    heads = ["", "fused, ms", "timm compiled", "fused compiled", "× timm compiled", "× fused"]
    heads += ["stride 8: plain, ms", "fused", "fused compiled", "fused × plain", "compiled × plain"]
    return table(
        heads,
        (
            [
                short(row["backbone"]),
                *(f"{row['ms'][variant]:.1f}" for variant in ("fused", "timm compiled", "fused compiled")),
                spread(row["compiled against timm compiled"]),
                spread(row["compiled against fused"]),
                *(f"{row['stride 8 ms'][variant]:.1f}" for variant in ("plain", "fused", "fused compiled")),
                spread(row["fused against plain"]),
                spread(row["compiled against plain"]),
            ]
            for row in rows
        ),
    )


def multiple(row: dict[str, Any], what: str) -> float:
    """Return the time of a detector as a multiple of yolov5n's in the same turn."""
    return float(row[f"{what} time of yolov5n's"]["median"])


def detectors(rows: list[dict[str, Any]]) -> str:
    """Return the table of our detectors beside stock ones."""
    heads = [
        "yaml",
        "parameters",
        "GFLOPs",
        "batch 1, ms",
        "×",
        "MiB",
        "batch 8, images/s",
        "×",
        "batch 32, images/s",
        "×",
    ]
    heads += ["MiB", "training, ms", "×", "MiB"]
    by_name = {row["yaml"]: row for row in rows}

    def against_stock(row: dict[str, Any], what: str) -> str:
        stock = PEERS.get(row["yaml"].replace("yolov5-efficientvit", ""))
        return f"{multiple(row, what) / multiple(by_name[stock], what):.2f}" if stock else ""

    return table(
        heads,
        (
            [
                f"`{row['yaml']}`",
                f"{row['parameters'] / 1e6:.1f} M",
                f"{row['gflops']:.1f}",
                f"{row['batch 1 ms']:.0f}",
                against_stock(row, "batch 1"),
                f"{row['batch 1 MiB']:.0f}",
                f"{row['batch 8 images per second']:.1f}",
                against_stock(row, "batch 8"),
                f"{row['batch 32 images per second']:.1f}",
                against_stock(row, "batch 32"),
                f"{row['batch 32 MiB']:.0f}",
                f"{row['training ms']:.0f}",
                against_stock(row, "training"),
                f"{row['training MiB']:.0f}",
            ]
            for row in rows
        ),
    )


def scaling(rows: list[dict[str, Any]]) -> str:
    """Return the table of time and memory by image size and batch."""
    columns = ["batch", "image_size", "gflops", "ms", "ms per gflop", "MiB"]
    heads = ["", "batch", "px", "GFLOPs", "ms", "ms for a GFLOP", "MiB"]
    return table(heads, ([short(row["backbone"]), *(row[column] for column in columns)] for row in rows))


def exports(rows: list[dict[str, Any]]) -> str:
    """Return the table of the exports' latency."""
    names = list(rows[0]["ms"])
    lines: list[list[object]] = [[name, *(f"{row['ms'][name]:.1f}" for row in rows)] for name in names]
    for name in rows[0]["against timm"]:
        lines.append([f"{short(name)}, × timm", *(spread(row["against timm"][name]) for row in rows)])
    return table(["", *(row["runtime"] for row in rows)], lines)


def runtimes(rows: list[dict[str, Any]]) -> str:
    """Return the table of each runtime's latency and differences from PyTorch."""
    names = list(dict.fromkeys(row["runtime"] for row in rows))
    lines: list[list[object]] = []
    for name in names:
        sizes = [row for row in rows if row["runtime"] == name]
        first = sizes[0]
        line = [name, first["MiB"], f"{first['boxes']:.1g}", f"{first['scores']:.0e}"]
        lines.append([*line, *(f"{row['ms']['ours']:.0f}, × {row['ratio']['median']:.2f}" for row in sizes)])
    return table(["", "MiB", "boxes, px", "scores", "M0", "M2", "M5"], lines)


def int8(rows: list[dict[str, Any]]) -> str:
    """Return the table of each runtime's scores and latency in float32 and in int8."""
    heads = ["", "", "mAP50", "mAP50-95", "ms", "× float32"]
    return table(
        heads,
        (
            [
                row["detector"],
                row["runtime"],
                f"{row['mAP50']:.3f}",
                f"{row['mAP50-95']:.3f}",
                f"{row['ms']:.1f}",
                spread(row["against float"]) if "against float" in row else "",
            ]
            for row in rows
        ),
    )


def formats(result: dict[str, Any]) -> str:
    """Return the table of every format's size, differences and latency, or why its export failed."""
    size = result["environment"]["image_size"]

    def cells(row: dict[str, Any]) -> list[str]:
        if "failure" in row:
            return [row["failure"], "", "", ""]
        if "ms" not in row:
            return [str(row["MiB"]), "not run", "", ""]
        return [str(row["MiB"]), f"{row['boxes'] * size:.1g}", f"{row['scores']:.0e}", f"{row['ms']:.0f}"]

    heads = ["`--include`", "MiB", "boxes, px", "scores", "ms"]
    return table(heads, ([f"`{row['format']}`", *cells(row)] for row in result["rows"]))


if __name__ == "__main__":
    main()
