"""How latency and memory grow with image size and batch: the fused M0 and M5, beside their operations.

`.venv/bin/python -m benchmarks.scaling` writes results/scaling.json.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from models.backbone.registry import backbone_class

from .calls import inference
from .memory import peak_memory
from .timing import in_turns, milliseconds, write_result

SHAPES = [(1, size) for size in (320, 448, 640, 896, 1280)] + [(batch, 640) for batch in (2, 4, 8, 16)]
ROUNDS = 9


def main() -> None:
    """Measure, print and write as JSON."""
    rows = []
    for name in ("EfficientViT_M0", "EfficientViT_M5"):
        backbone = backbone_class(name)().eval()
        with torch.no_grad():
            gflops = []
            for batch, size in SHAPES:
                with FlopCounterMode(display=False) as counter:
                    backbone(torch.zeros(batch, 3, size, size))
                gflops.append(counter.get_total_flops() / 1e9)
            backbone.fuse()
            calls = [inference(backbone, torch.rand(batch, 3, size, size)) for batch, size in SHAPES]
            seconds = in_turns({str(shape): call for shape, call in zip(SHAPES, calls)}, ROUNDS)
            for shape, call, work in zip(SHAPES, calls, gflops):
                taken = milliseconds(seconds[str(shape)])
                row = {"backbone": name, "batch": shape[0], "image_size": shape[1], "gflops": round(work, 3)}
                row |= {"ms": taken, "ms per gflop": round(taken / work, 2), "MiB": peak_memory(call)}
                print(row, flush=True)
                rows.append(row)
    write_result("scaling", rows, rounds=ROUNDS)


if __name__ == "__main__":
    main()
