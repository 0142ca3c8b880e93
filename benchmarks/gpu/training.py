"""Training steps in mixed precision as train.py does them, with gradient scaler and optimizer; and their memory."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor, nn

from ..backbones import twins
from ..timing import ratio
from .models import detectors
from .session import VARIANTS, Results, Session, run_step, spread

BATCHES = (16, 64)
IMAGE_SIZE, TWIN_SIZE = 640, 448  # pixels; 448 is the smallest size at which all of timm's windows have 7x7 cells
ROUNDS = 12
# Each of our networks with a counterpart of timm that gives the same maps, and that counterpart.
TWINS = {"ours": "timm", **{f"{name}, stride 16": f"{name} of timm" for name in VARIANTS}}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def measure(session: Session, results: Results) -> None:
    """Measure the backbones alone beside timm's, then whole detectors."""
    for name in session.variants:
        theirs, ours = twins(f"EfficientViT_{name}", TWIN_SIZE if session.tiny else IMAGE_SIZE)
        compare(session, results, {"timm": theirs, "ours": ours}, f"backbone {name}", TWIN_SIZE)
    compare(session, results, detectors(session.variants), "detectors", 64)


def compare(session: Session, results: Results, models: dict[str, Any], what: str, tiny_size: int) -> None:
    """Add a row for each batch and layout, all models in turns."""
    for model in models.values():
        model.to(session.device).train()
    for batch in (2,) if session.tiny else BATCHES:
        images = session.images(batch, tiny_size if session.tiny else IMAGE_SIZE)
        for layout, memory_format in LAYOUTS.items():
            if not session.time_is_left():
                return
            laid_out = images.to(memory_format=memory_format)
            steps = {
                name: training_step(session, model.to(memory_format=memory_format), laid_out)
                for name, model in models.items()
            }
            seconds = session.in_turns(steps, ROUNDS)
            row: dict[str, Any] = {"what": what, "batch": batch, "layout": layout}
            for name, step in steps.items():
                row[name] = {**spread(seconds[name]), "MiB": session.peak_mib(step)}
            for name, twin in TWINS.items():
                if name in models:
                    row[f"{name}: share of timm's time"] = ratio(seconds, name, twin)
            results.add(**row)
    for model in models.values():
        model.cpu()


def training_step(session: Session, model: nn.Module, images: Tensor) -> Callable[[], None]:
    """Return a call that takes one training step."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-6, momentum=0.937, nesterov=True)
    scaler = torch.amp.GradScaler(session.device.type, enabled=session.on_gpu)
    dtype = torch.float16 if session.on_gpu else torch.bfloat16

    def step() -> None:
        with torch.autocast(session.device.type, dtype):
            outputs = model(images)
        loss = sum((output.float().square().mean() for output in outputs), torch.zeros((), device=session.device))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    run_step("training", measure)
