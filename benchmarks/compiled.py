"""The fused backbones under torch.compile, beside timm's under torch.compile and ours without.

`.venv/bin/python -m benchmarks.compiled [M0 M2 ...]` writes results/compiled.json; it needs a C++ compiler.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from .backbones import IMAGE_SIZE, twins
from .calls import inference
from .timing import in_turns, milliseconds, ratio, write_result

ROUNDS = 25


def main() -> None:
    """Measure, print and write as JSON."""
    rows = []
    for name in sys.argv[1:] or ["M0", "M2", "M5"]:
        theirs, ours = twins(f"EfficientViT_{name}")
        ours.fuse()
        image = torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE)
        forms: dict[str, Any] = {
            "fused": ours,
            "timm compiled": torch.compile(theirs),
            "fused compiled": torch.compile(ours),
        }
        with torch.no_grad():
            for found, wanted in zip(forms["fused compiled"](image), ours(image)):
                assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
        seconds = in_turns({form: inference(module, image) for form, module in forms.items()}, ROUNDS)
        row = {
            "backbone": name,
            "ms": {form: milliseconds(taken) for form, taken in seconds.items()},
            "compiled against timm compiled": ratio(seconds, "timm compiled", "fused compiled"),
            "compiled against fused": ratio(seconds, "fused", "fused compiled"),
        }
        print(row, flush=True)
        rows.append(row)
    write_result("compiled", rows, image_size=IMAGE_SIZE, rounds=ROUNDS)


if __name__ == "__main__":
    main()
