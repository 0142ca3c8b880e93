"""Parameters and floating-point operations of each model yaml beside stock yolov5n, s and m, at 640 px.

`.venv/bin/python -m benchmarks.model_sizes` writes results/model_sizes.json. Multiplications and additions are counted,
also those of the attention's matrix products.
"""

from __future__ import annotations

import json

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .host import OURS, STOCK, builder, detector
from .timing import RESULTS

IMAGE_SIZE = 640  # pixels


def main() -> None:
    """Count, print a table and write it as JSON."""
    build = builder()
    rows = [{"yaml": name, **size(detector(build, name))} for name in OURS + STOCK]
    for row in rows:
        print(f"{row['yaml']:<24}{row['parameters']:>12,}{row['gflops']:>8.1f}")
    (RESULTS / "model_sizes.json").write_text(json.dumps(rows, indent=1) + "\n")


def size(model: nn.Module) -> dict[str, float]:
    """Return the number of parameters, and the GFLOPs of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"parameters": parameters, "gflops": round(counter.get_total_flops() / 1e9, 3)}


if __name__ == "__main__":
    main()
