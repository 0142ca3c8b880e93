"""How latency and memory grow with image size and batch: the fused M0 and M5, beside their operations.

`.venv/bin/python -m benchmarks.scaling` writes results/scaling.json.
"""

from __future__ import annotations

import torch

from models.backbone.registry import backbone_class

from .calls import gflops, inference
from .memory import peak_memory
from .timing import in_turns, milliseconds, write_result

SHAPES = [(1, size) for size in (320, 448, 640, 896, 1280)] + [(batch, 640) for batch in (2, 4, 8, 16)]
ROUNDS = 9


def main() -> None:
    """Measure, print and write as JSON."""
    rows = []
    for name in ("EfficientViT_M0", "EfficientViT_M5"):
        backbone = backbone_class(name)().eval()
        images = {(batch, size): torch.rand(batch, 3, size, size) for batch, size in SHAPES}
        operations = {shape: gflops(backbone, batch) for shape, batch in images.items()}
        backbone.fuse()
        calls = {shape: inference(backbone, batch) for shape, batch in images.items()}
        seconds = in_turns({str(shape): call for shape, call in calls.items()}, ROUNDS)
        for shape, call in calls.items():
            taken, work = milliseconds(seconds[str(shape)]), operations[shape]
            row = {"backbone": name, "batch": shape[0], "image_size": shape[1], "gflops": round(work, 3)}
            row |= {"ms": taken, "ms per gflop": round(taken / work, 2), "MiB": peak_memory(call)}
            print(row, flush=True)
            rows.append(row)
    write_result("scaling", rows, rounds=ROUNDS)


if __name__ == "__main__":
    main()
