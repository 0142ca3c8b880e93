"""The backbones beside timm's, on the same weights and maps, in every precision."""

from __future__ import annotations

import copy

import torch
from timm.utils.model import reparameterize_model

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
            theirs, ours = twins(f"EfficientViT_{name}", size)
            folded = reparameterize_model(theirs)
            models = {
                "timm": theirs,
                "timm fused": folded,
                "timm fused, channels_last": copy.deepcopy(folded),
                "ours": ours,
                "ours fused": copy.deepcopy(ours).fuse(),
            }
            for model in models.values():
                model.to(session.device, dtype)
            models["timm fused, channels_last"].to(memory_format=torch.channels_last)
            for batch in BATCHES[: 1 if session.tiny else None]:
                if not session.time_is_left():
                    return
                images = session.images(batch, size, dtype)
                last = images.to(memory_format=torch.channels_last)
                calls = {
                    variant: inference(model, last if "channels_last" in variant else images)
                    for variant, model in models.items()
                }
                reference = calls["timm fused"]()
                error = max(largest_error(calls[variant](), reference) for variant in ("ours", "ours fused"))
                seconds = session.in_turns(calls, ROUNDS)
                results.add(
                    backbone=name,
                    precision=precision,
                    batch=batch,
                    error=error,
                    agrees=error < TOLERANCE[dtype],
                    **{variant: spread(taken) for variant, taken in seconds.items()},
                    **{
                        f"fused against {variant}": ratio(seconds, variant, "ours fused")
                        for variant in ("timm", "timm fused", "timm fused, channels_last")
                    },
                    MiB={variant: session.peak_mib(call) for variant, call in calls.items()},
                )


if __name__ == "__main__":
    run_step("inference", measure)
