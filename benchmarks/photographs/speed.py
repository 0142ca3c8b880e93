"""How long the detectors of photographs take for one image.

`.venv/bin/python -m benchmarks.photographs.speed` writes results/photographs_speed.json. The models take turns, with
batch norms folded as in val.py. What is timed is the forward pass: no reading of images, no non-maximum suppression.
One thread computes, and its own time counts, so that other work on the machine costs little.
"""

from __future__ import annotations

import json
import time
from typing import Any, Callable

import torch

from ..calls import inference
from ..detectors import fused_copy
from ..host import detector, import_model_class
from ..timing import RESULTS, in_turns, milliseconds, ratio, write_result
from .studies import STUDIES

ROUNDS = 51


def main() -> None:
    """Measure, print and write as JSON."""
    torch.set_num_threads(1)  # as the trainings have
    image_size = json.loads((RESULTS / "photographs_models.json").read_text())["image_size"]
    model_class = import_model_class()
    image = torch.rand(1, 3, image_size, image_size)
    calls = {name: inference(fused_copy(detector(model_class, name)), image) for name in STUDIES["models"].models}
    seconds = in_turns(calls, ROUNDS, clock=thread_seconds)
    rows = [
        {"model": name, "ms": milliseconds(taken), "time of yolov5n's": ratio(seconds, name, "yolov5n")}
        for name, taken in seconds.items()
    ]
    for row in rows:
        print(row)
    write_result("photographs_speed", rows, image_size=image_size, rounds=ROUNDS)


def thread_seconds(call: Callable[[], Any]) -> float:
    """Return how long this thread computes for a call."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


if __name__ == "__main__":
    main()
