"""Writes docs/benchmarks.md from the figures in results/: `.venv/bin/python -m benchmarks.page`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from .gpu.table import tables_of
from .markdown import table
from .operators import KINDS
from .timing import RESULTS

PAGE = Path("docs/benchmarks.md")
TEXT = """\
# Speed and memory

Each table comes from the command above it, and is written down by `.venv/bin/python -m benchmarks.page`. Candidates are
called in turns within one process; a ratio is the median over the turns, with its quartiles in brackets. Trust the ratios:
milliseconds are those of {environment}, shared with others.

## The backbones beside timm's

`.venv/bin/python -m benchmarks.backbones`: the same weights, maps of stride 16, 32 and 64, windows of 7x7, one image of
{image_size} px in float32; outputs agree within 1e-5. timm's networks lie in memory as timm makes them, which is PyTorch's
default; "timm fused" is with its own folding of batch norms.
A training step is forward and backward of {training_batch} images, from gradients that lie in memory as the maps do, which
is how a neck hands them down; memory is the growth of the process at its largest. All variants are measured {passes} times
one after the other, because the load of a shared machine changes within minutes.

{against_timm}

## Beside the machine's limit

The same command: maps of stride 8, 16 and 32, against the network as one writes it down from the paper
(`benchmarks/plain.py`, unfused), and as a share of the rate of this machine's fastest matrix product (2048x2048, {limit}
GFLOP/s).

{against_limit}

`.venv/bin/python -m benchmarks.operators` tells where M0's time goes, in percent. The convolutions run at
{convolution_rate} GFLOP/s. What is left is a thousand small operators, which Python and the dispatcher prepare one by one, and
which move memory more than they compute; "the rest" has views, Python, and the profiler itself:

{operators}

`.venv/bin/python -m benchmarks.compiled` lets `torch.compile` write them as one. It takes the network as one graph. timm's has
its batch norms folded too. The first columns have maps of stride 16, 32 and 64, as timm's; the last five those of stride 8, 16
and 32, beside the plain form:

{compiled}

## Whole detectors

`.venv/bin/python -m benchmarks.detectors`: fused, 640 px, ms for a batch of 1 and images per second for larger ones; and
a training step of 8 images of 320 px. GFLOPs are of one image of 640 px.

{detectors}

## Image size and batch

`.venv/bin/python -m benchmarks.scaling`: fused backbones of stride 8, 16 and 32. Time for each GFLOP falls as images grow:
latency grows no faster than the operations do. Only where maps exceed the 32 MiB up to
which glibc keeps memory for the next time does it rise again: by a few percent for M5 at 1280 px, and with many images at once.

{scaling}

## Exports

`.venv-export/bin/python -m benchmarks.exports`, in the environment that `make test-exports` makes: ms for one image of
640 px, the same ONNX file in both runtimes. The first rows are backbones of stride 16, 32, 64. ONNX Runtime's threads do not
spin here, or those of one network would run on in the turn of the next; OpenVINO computes in bfloat16 where the processor
does, which is its default.

{exports}

### In each runtime

`.venv-export/bin/python -m benchmarks.runtimes`: whole detectors, the boxes' decoding included, one image of 640 px, float32
but for "half", two threads, M0, M2 and M5 beside yolov5n, s and m. × is the time of ours by the stock detector's.
Differences are M0's from PyTorch, the largest of any side of a box, in px, and of any score. Versions are those of
`tests/runtimes/requirements/`.

{runtimes}

### int8

`.venv-export/bin/python -m benchmarks.int8 --data FOLDER best.pt ...`: detectors trained by `benchmarks.photographs` on
{int8_data}, {int8_size} px, scored by YOLOv5's own val.py on the images to validate with, one at a time. M2 had done 32 of 60 epochs. ms are of two threads;
× is the time of the same runtime in float32 by that in int8. TFLite's float32 file holds weights of 16 bits. The last row of each
is what YOLOv5 itself makes by `export.py --include tflite --int8`; the others are `examples/quantize.py`.

{int8}

`.venv-export/bin/python -m benchmarks.formats path/to/yolov5`: the detector with M0 in the formats of export.py of YOLOv5's
master, against PyTorch on a photograph of 640 px. Differences are the largest of any side of a box, in px, and of any
score; ms is the median of seven calls of YOLOv5's `DetectMultiBackend`, format after format and not in turns: it moves by
half from run to run here. CoreML runs on macOS alone. TFLite's weights are of 16 bits.

{formats}

## On a GPU

`make gpu-wheels` where there is a network, then `make gpu` on a machine with a GPU: training, inference, the forms of
attention, the classifier's throughput and latency, beside timm's EfficientViT and stock YOLOv5.

{gpu}
"""


def main() -> None:
    """Write the page."""
    backbones = read("backbones")
    environment = backbones["environment"]
    parts = {
        "environment": f"{environment['threads']} threads of an {unmarked(environment['processor'])} processor, "
        f"torch {environment['torch'].partition('+')[0]}",
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
        "exports": exports(read("exports")["rows"]),
        "runtimes": runtimes(read("runtimes")["rows"]),
        "gpu": tables_of(RESULTS / "gpu") or "Not measured yet: no GPU was at hand.",
        "formats": formats(read("formats")),
        "int8": int8(read("int8")["rows"]),
        "int8_data": read("int8")["environment"]["data"],
        "int8_size": read("int8")["environment"]["image_size"],
    }
    PAGE.write_text(TEXT.format(**parts), encoding="utf-8")


def read(name: str) -> Any:
    """Return the content of one file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def convolution_rate(row: dict[str, Any]) -> int:
    """Return the GFLOP/s of the convolutions alone."""
    return round(row["convolution gflops"] / (row["ms"] / 1000 * row["convolutions"] / 100))


def unmarked(processor: str) -> str:
    """Return the name of a processor without its marks."""
    return processor.replace("(R)", "").replace(" Processor", "")


def spread(ratio: dict[str, float]) -> str:
    """Word a ratio and its quartiles."""
    return f"{ratio['median']:.2f} ({ratio['from']:.2f} - {ratio['to']:.2f})"


def short(name: str) -> str:
    """Return the variant's name alone."""
    return name.rpartition("_")[2]


def against_timm(rows: list[dict[str, Any]]) -> str:
    """Table (a): timm and ours, inference and training."""
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
    """Table (c): the plain form and the machine's limit."""
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
    """The profile of M0."""
    kinds = [*KINDS, "the rest"]
    return table(["", *kinds], ([row["what"], *(row[kind] for kind in kinds)] for row in rows))


def compiled(rows: list[dict[str, Any]]) -> str:
    """Ours and timm's under torch.compile, and ours beside the plain form."""
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


def detectors(rows: list[dict[str, Any]]) -> str:
    """Table (b): detectors beside stock ones."""
    heads = ["yaml", "parameters", "GFLOPs", "batch 1, ms", "MiB", "batch 8, images/s", "batch 32, images/s", "MiB"]
    heads += ["training, ms", "MiB"]
    return table(
        heads,
        (
            [
                f"`{row['yaml']}`",
                f"{row['parameters'] / 1e6:.1f} M",
                f"{row['gflops']:.1f}",
                f"{row['batch 1 ms']:.0f}",
                f"{row['batch 1 MiB']:.0f}",
                f"{row['batch 8 images per second']:.1f}",
                f"{row['batch 32 images per second']:.1f}",
                f"{row['batch 32 MiB']:.0f}",
                f"{row['training ms']:.0f}",
                f"{row['training MiB']:.0f}",
            ]
            for row in rows
        ),
    )


def scaling(rows: list[dict[str, Any]]) -> str:
    """Table (e): growth with image size and batch."""
    columns = ["batch", "image_size", "gflops", "ms", "ms per gflop", "MiB"]
    heads = ["", "batch", "px", "GFLOPs", "ms", "ms for a GFLOP", "MiB"]
    return table(heads, ([short(row["backbone"]), *(row[column] for column in columns)] for row in rows))


def exports(rows: list[dict[str, Any]]) -> str:
    """Table (d): latency of exports."""
    names = list(rows[0]["ms"])
    lines: list[list[object]] = [[name, *(f"{row['ms'][name]:.1f}" for row in rows)] for name in names]
    for name in rows[0]["against timm"]:
        lines.append([f"{short(name)}, × timm", *(spread(row["against timm"][name]) for row in rows)])
    return table(["", *(row["runtime"] for row in rows)], lines)


def runtimes(rows: list[dict[str, Any]]) -> str:
    """Each runtime's latency and differences."""
    names = list(dict.fromkeys(row["runtime"] for row in rows))
    lines: list[list[object]] = []
    for name in names:
        sizes = [row for row in rows if row["runtime"] == name]
        first = sizes[0]
        line = [name, first["MiB"], f"{first['boxes']:.1g}", f"{first['scores']:.0e}"]
        lines.append([*line, *(f"{row['ms']['ours']:.0f}, × {row['ratio']['median']:.2f}" for row in sizes)])
    return table(["", "MiB", "boxes, px", "scores", "M0", "M2", "M5"], lines)


def int8(rows: list[dict[str, Any]]) -> str:
    """Score and latency of each runtime in float32 and in int8."""
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
    """Every format's size, difference and latency; "failure" is what export.py said."""
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
