"""Parameters and floating-point operations of each model yaml beside stock yolov5n, s and m, at 640 px.

`.venv/bin/python -m benchmarks.model_sizes` writes results/model_sizes.json. Multiplications and additions are counted,
also those of the attention's matrix products.
"""

from __future__ import annotations

import json

import torch
from torch import nn

from .calls import gflops
from .host import OURS, STOCK, detector, import_model_class
from .timing import RESULTS

IMAGE_SIZE = 640  # pixels


def main() -> None:
    """Count, print a table and write it as JSON."""
    model_class = import_model_class()
    rows = [{"yaml": name, **size(detector(model_class, name))} for name in OURS + STOCK]
    for row in rows:
        print(f"{row['yaml']:<24}{row['parameters']:>12,}{row['gflops']:>8.1f}")
    (RESULTS / "model_sizes.json").write_text(json.dumps(rows, indent=1) + "\n")


def size(model: nn.Module) -> dict[str, float]:
    """Return the number of parameters, and the GFLOPs of one image."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    image = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return {"parameters": parameters, "gflops": round(gflops(model.eval(), image), 3)}


if __name__ == "__main__":
    main()
