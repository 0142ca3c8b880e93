"""The backbones beside timm's, on the same weights and maps, in every precision."""

from __future__ import annotations

import copy
from typing import Any

import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

from tests.compare_maps import largest_error

from ..backbones import twins
from ..calls import inference
from ..timing import ratio
from .session import Results, Session, run_step, spread

BATCHES = (1, 32)
ROUNDS = 20
PRECISIONS = {
    "float32": (torch.float32, False),
    "float32 with TF32": (torch.float32, True),
    "float16": (torch.float16, True),
    "bfloat16": (torch.bfloat16, True),
}
TOLERANCE = {torch.float32: 1e-2, torch.float16: 5e-2, torch.bfloat16: 3e-1}  # TF32 has ten bits of mantissa


def measure(session: Session, results: Results) -> None:
    """Add a row for each network, precision and batch."""
    size = 448 if session.tiny else 640
    for precision, (dtype, tf32) in reversed(PRECISIONS.items()):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        for name in session.variants:
            models = models_of(name, size)
            for model in models.values():
                model.to(session.device, dtype)
            models["timm fused, channels_last"].to(memory_format=torch.channels_last)
            for batch in BATCHES[: 1 if session.tiny else None]:
                if not session.time_is_left():
                    return
                row = compare(session, models, session.images(batch, size, dtype))
                results.add(backbone=name, precision=precision, batch=batch, **row)


def models_of(name: str, size: int) -> dict[str, nn.Module]:
    """Return timm's network and ours of one variant, with the same weights, fused and not."""
    theirs, ours = twins(f"EfficientViT_{name}", size)
    folded = reparameterize_model(theirs)
    return {
        "timm": theirs,
        "timm fused": folded,
        "timm fused, channels_last": copy.deepcopy(folded),
        "ours": ours,
        "ours fused": copy.deepcopy(ours).fuse(),
    }


def compare(session: Session, models: dict[str, nn.Module], images: Tensor) -> dict[str, Any]:
    """Return each model's time and memory, the ratios of the times, and the error of our maps."""
    channels_last = images.to(memory_format=torch.channels_last)
    calls = {
        variant: inference(model, channels_last if "channels_last" in variant else images)
        for variant, model in models.items()
    }
    reference = calls["timm fused"]()
    error = max(largest_error(calls[variant](), reference) for variant in ("ours", "ours fused"))
    seconds = session.in_turns(calls, ROUNDS)
    return {
        "error": error,
        "agrees": error < TOLERANCE[images.dtype],
        **{variant: spread(taken) for variant, taken in seconds.items()},
        **{
            f"fused against {variant}": ratio(seconds, variant, "ours fused")
            for variant in ("timm", "timm fused", "timm fused, channels_last")
        },
        "MiB": {variant: session.peak_mib(call) for variant, call in calls.items()},
    }


if __name__ == "__main__":
    run_step("inference", measure)
