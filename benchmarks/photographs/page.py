"""Writes docs/photographs.md from the studies in results/: `.venv/bin/python -m benchmarks.photographs.page`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from ..markdown import table
from ..timing import RESULTS
from .studies import RECIPES

PAGE = Path("docs/photographs.md")
TEXT = """\
# How well it learns photographs

Detectors trained from scratch by real YOLOv5 v7.0, on {name}: {train[images]} photographs with {train[boxes]} boxes of
{classes} classes to train on, and {val[images]} with {val[boxes]} boxes to validate. Images have {image_size} px, a batch
{batch_size} images, a training {epochs} epochs, in float32 on a CPU. Scores are those that YOLOv5 prints after an epoch. The
last epoch counts, not the best.

The data set is small, and the order of detectors may be another on yours. Where there are several seeds, the table shows
their median, with the lowest and the highest behind it. Seeds differ by several points, so one seed decides nothing.

## Recipes

`.venv/bin/python -m benchmarks.photographs --data FOLDER --study recipes` trains M0, one seed each.

{recipes}

"SGD" is YOLOv5's own `hyp.scratch-low.yaml` without a change. The number behind AdamW is its learning rate. Its weight
decay is the paper's, 0.025, and `warmup_bias_lr` is 0.01, where the table does not say otherwise.

## Models

`.venv/bin/python -m benchmarks.photographs --data FOLDER --study models` trains each model by the same recipes.

{models}

## On your own data

`FOLDER` is a data set in YOLO format: a `data.yaml` with `train`, `val` and `names`, the photographs in folders called
`images`, and beside each of these a folder `labels`. It is checked before anything is trained. Public sets of this form
are coco128 (CC BY 4.0), which YOLOv5 downloads, and what Roboflow Universe exports as "YOLOv5 PyTorch"; each names its
licence.

A study takes hours on a CPU. Stop it when you like: the same command goes on from the last epoch, and does not repeat
a training that is done. `--models`, `--recipes`, `--seeds`, `--epochs` and `--image-size` choose others. Give such
results a file of their own with `--result`.

`.venv/bin/python -m benchmarks.photographs.page` writes this page.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(text(), encoding="utf-8")


def text() -> str:
    """Return the page."""
    studies = {
        study: json.loads((RESULTS / f"photographs_{study}.json").read_text()) for study in ("recipes", "models")
    }
    settings = studies["models"]
    data = settings["data set"]
    return TEXT.format(
        **{key: settings[key] for key in ("image_size", "batch_size", "epochs")},
        **data,
        **{name: scores(study) for name, study in studies.items()},
    )


def scores(study: dict[str, Any]) -> str:
    """Return a row for each model and recipe: mAP50 and mAP50-95 after a third, two thirds and all of the epochs."""
    epochs = [study["epochs"] * third // 3 for third in (1, 2, 3)]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in study["runs"]:
        groups.setdefault((run["model"], run["recipe"]), []).append(run)
    rows = [
        [f"`{model}`", recipe, len(runs), *(score(runs, epoch) for epoch in epochs)]
        for (model, recipe), runs in sorted(groups.items(), key=lambda group: list(RECIPES).index(group[0][1]))
    ]
    return table(["", "recipe", "seeds", *(f"mAP50 / mAP50-95 after {epoch} epochs" for epoch in epochs)], rows)


def score(runs: list[dict[str, Any]], epoch: int) -> str:
    """Word the scores after an epoch."""
    words = []
    for name in ("mAP50", "mAP50-95"):
        values = [run[name][epoch - 1] for run in runs]
        spread = f" ({min(values):.3f} - {max(values):.3f})" if len(values) > 1 else ""
        words.append(f"{statistics.median(values):.3f}{spread}")
    return " / ".join(words)


if __name__ == "__main__":
    main()
