"""Whole detectors, fused and training, beside stock yolov5n, s and m, all in one YOLOv5.

`.venv/bin/python -m benchmarks.detectors` writes results/detectors.json.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from .calls import inference, training_step
from .host import OURS, STOCK, detector, import_model_class
from .memory import peak_memory
from .model_sizes import size
from .timing import in_turns, milliseconds, ratio, write_result

IMAGE_SIZE, TRAINING_SIZE = 640, 320  # pixels
ROUNDS = {1: 11, 8: 3, 32: 2}  # by batch
TRAINING_BATCH, TRAINING_ROUNDS = 8, 3


def main() -> None:
    """Measure, print and write as JSON."""
    model_class = import_model_class()
    models = {name: detector(model_class, name) for name in OURS + STOCK}
    rows: dict[str, dict[str, Any]] = {name: {"yaml": name, **size(model)} for name, model in models.items()}
    fused = {name: fused_copy(model) for name, model in models.items()}
    for batch, rounds in ROUNDS.items():
        images = torch.rand(batch, 3, IMAGE_SIZE, IMAGE_SIZE)
        calls = {name: inference(model, images) for name, model in fused.items()}
        record(rows, f"batch {batch}", in_turns(calls, rounds, warm_up=1), batch)
        for name, call in calls.items():
            rows[name][f"batch {batch} MiB"] = peak_memory(call)
    images = torch.rand(TRAINING_BATCH, 3, TRAINING_SIZE, TRAINING_SIZE)
    steps = {name: training_step(model.train(), images) for name, model in models.items()}
    record(rows, "training", in_turns(steps, TRAINING_ROUNDS, warm_up=1), TRAINING_BATCH)
    for name, step in steps.items():
        rows[name]["training MiB"] = peak_memory(step)
    for row in rows.values():
        print(row)
    write_result(
        "detectors",
        list(rows.values()),
        image_size=IMAGE_SIZE,
        rounds=ROUNDS,
        training_batch=TRAINING_BATCH,
        training_size=TRAINING_SIZE,
    )


def fused_copy(model: Any) -> Any:
    """Return a copy as val.py and detect.py run it."""
    return copy.deepcopy(model).eval().fuse()


def record(rows: dict[str, dict[str, Any]], what: str, seconds: dict[str, list[float]], batch: int) -> None:
    """Add milliseconds, images per second, and the ratio to yolov5n's time to the rows."""
    for name, taken in seconds.items():
        rows[name][f"{what} ms"] = milliseconds(taken)
        rows[name][f"{what} images per second"] = round(1000 * batch / milliseconds(taken), 2)
        rows[name][f"{what} time of yolov5n's"] = ratio(seconds, name, "yolov5n")


if __name__ == "__main__":
    main()
