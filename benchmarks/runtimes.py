"""Latency of whole detectors in each runtime, each beside the YOLOv5 detector that it would replace.

`.venv-export/bin/python -m benchmarks.runtimes` writes results/runtimes.json; `make test-exports` makes that
environment, and one for each runtime. Nothing else may run meanwhile.
"""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

from tests.runtimes.exported import RUNTIMES, Detector, Runtime, program, run

from .host import COPY, patched_host
from .timing import ratio, write_result

SIZE = 640  # pixels
ROUNDS = 15
FOLDER = Path("build/benchmarks/runtimes")
PAIRS = {
    "yolov5-efficientvit": "yolov5n",
    "yolov5-efficientvit-m2": "yolov5s",
    "yolov5-efficientvit-m5": "yolov5m",
}


def main() -> None:
    """Measure, print and write as JSON."""
    host = patched_host()
    rows: list[dict[str, Any]] = []
    for ours, stock in PAIRS.items():
        detectors = [exported(host, name) for name in (ours, stock)]
        for name, runtime in RUNTIMES.items():
            row = {"runtime": name, "ours": ours, "stock": stock, **measure(runtime, detectors)}
            print(row, flush=True)
            rows.append(row)
            write_result("runtimes", rows, image_size=SIZE, rounds=ROUNDS)  # so that what is measured so far is kept


def exported(host: Any, name: str) -> Any:
    """Return a detector of one yaml, in a folder of its own."""
    folder = (FOLDER / name).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Detector(host, COPY.resolve() / "models" / f"{name}.yaml", f"{SIZE}x{SIZE}", folder)


def measure(runtime: Runtime, detectors: list[Any]) -> dict[str, Any]:
    """Return milliseconds of both detectors, their ratio, and how far ours is from PyTorch."""
    boxes, scores = detectors[0].errors(runtime)
    script = Path("tests/runtimes/time_models.py").resolve()
    models = [detector.made(runtime.made_by) for detector in detectors]
    command = [program(runtime.environment), script, runtime.function, ROUNDS, detectors[0].folder / "image.npy"]
    ours, stock = json.loads(run(*command, *models, only_stdout=True).splitlines()[-1])
    return {
        "boxes": boxes * SIZE,  # in pixels
        "scores": scores,
        "MiB": round(size_of(models[0]), 1),
        "ms": {"ours": round(statistics.median(ours), 2), "stock": round(statistics.median(stock), 2)},
        "ratio": ratio({"ours": ours, "stock": stock}, "ours", "stock"),
    }


def size_of(model: Path) -> float:
    """Return the size of a model's file or files in MiB."""
    parts = [*model.parent.glob(f"{model.name}.ncnn.*")] or ([*model.rglob("*")] if model.is_dir() else [model])
    return sum(part.stat().st_size for part in parts if part.is_file()) / 2**20


if __name__ == "__main__":
    main()
