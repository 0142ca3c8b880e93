"""What is trained: recipes, and studies of models by recipes by seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

from ..host import OURS, STOCK


@dataclass(frozen=True)
class Recipe:
    """An optimizer, what differs from YOLOv5's `hyp.scratch-low.yaml`, and a change of the model from altered.py."""

    optimizer: str
    changes: Mapping[str, float] = field(default_factory=dict)
    altered: str = ""


def adamw(rate: float, decay: float = 0.025, **changes: float) -> Recipe:
    """Return AdamW with the weight decay of the EfficientViT paper (section 5.1), without a jump of the biases.

    YOLOv5 starts the biases at `warmup_bias_lr` 0.1, which is ten times SGD's rate and far more than AdamW's.
    """
    return Recipe("AdamW", {"lr0": rate, "weight_decay": decay, "warmup_bias_lr": 0.01, **changes})


CHOICES = {
    "SGD": Recipe("SGD"),
    "AdamW 0.001": adamw(0.001),
    "AdamW 0.002": adamw(0.002),
    "AdamW 0.004": adamw(0.004),
    "AdamW 0.002, decay 0.0005": adamw(0.002, decay=0.0005),
    "AdamW 0.002, bias warm-up 0.1": adamw(0.002, warmup_bias_lr=0.1),
    "AdamW 0.002, 10 warm-up epochs": adamw(0.002, warmup_epochs=10.0),
}
CAUSES = {
    "SGD, lr0 0.02": Recipe("SGD", {"lr0": 0.02}),
    "SGD, momentum 0.9": Recipe("SGD", {"momentum": 0.9}),
    "SGD, bias warm-up 0.01": Recipe("SGD", {"warmup_bias_lr": 0.01}),
    "SGD, 10 warm-up epochs": Recipe("SGD", {"warmup_epochs": 10.0}),
    "SGD, residual branches from 1": Recipe("SGD", altered="residuals_from_one"),
    "SGD, batch-norm momentum 0.1": Recipe("SGD", altered="batch_norm_momentum"),
    "SGD, attention biases 10 times as fast": Recipe("SGD", altered="attention_biases"),
    "SGD, convolutions drawn as by He et al.": Recipe("SGD", altered="kaiming"),
}
RECIPES = {**CHOICES, **CAUSES}


@dataclass(frozen=True)
class Study:
    """Trains each model by each recipe with each seed, for as many epochs."""

    models: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int


STUDIES = {
    # one seed to choose by
    "recipes": Study((OURS[0],), tuple(CHOICES), (0,), 60),
    # equal epochs and equal recipes for all
    "models": Study((OURS[0], STOCK[0], OURS[2], STOCK[1], OURS[1]), ("SGD", "AdamW 0.001"), (0, 1, 2), 60),
    # why M0 learns slowly at first: one thing changed at a time
    "causes": Study((OURS[0],), ("SGD", *CAUSES), (0,), 20),
}
