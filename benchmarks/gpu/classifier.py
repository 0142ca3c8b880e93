"""Images per second of the published classifiers' geometry, beside timm's and the paper's table (on a V100)."""

from __future__ import annotations

import copy
from typing import Any

import timm
import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

from models.backbone.registry import backbone_class

from ..calls import inference
from .session import Results, Session, run_step, spread

BATCH, IMAGE_SIZE = 2048, 224
ROUNDS = 10
# Liu et al., CVPR 2023, table 2: images per second on a V100, batch 2048, float16
PAPER = {"M0": 27644, "M1": 20093, "M2": 18218, "M3": 16644, "M4": 15914, "M5": 10621}


class Classifier(nn.Module):
    """Our backbone with timm's head, `(B, 3, 224, 224)` to `(B, 1000)`."""

    def __init__(self, backbone: Any, reference: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.reference_head = reference.head

    def forward(self, images: Tensor) -> Tensor:
        return self.reference_head(self.backbone(images)[-1].mean((2, 3)))


def measure(session: Session, results: Results) -> None:
    """Add a row for each network."""
    dtype = torch.float16 if session.on_gpu else torch.float32
    images = session.images(2 if session.tiny else BATCH, IMAGE_SIZE, dtype)
    for name in session.variants:
        theirs = timm.create_model(f"efficientvit_{name.lower()}").eval()
        ours = Classifier(backbone_class(f"EfficientViT_{name}")(stem_stride=16).eval(), theirs)
        ours.backbone.fuse()
        folded = reparameterize_model(theirs)
        models = {"timm fused": folded, "timm fused, channels_last": copy.deepcopy(folded), "ours fused": ours}
        for model in models.values():
            model.to(session.device, dtype)
        models["timm fused, channels_last"].to(memory_format=torch.channels_last)
        last = images.to(memory_format=torch.channels_last)
        calls = {v: inference(model, last if "last" in v else images) for v, model in models.items()}
        seconds = session.in_turns(calls, ROUNDS)
        spreads = {variant: spread(taken) for variant, taken in seconds.items()}
        rates = {variant: round(len(images) * 1000 / figures["ms"]) for variant, figures in spreads.items()}
        results.add(backbone=name, batch=len(images), **spreads, images_per_second=rates, paper_on_a_v100=PAPER[name])


if __name__ == "__main__":
    run_step("classifier", measure)
