"""Writes docs/photographs.md and its picture from results/: `.venv/bin/python -m benchmarks.photographs.page`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from docs.pictures.__main__ import write_pictures
from docs.pictures.photographs import NAMES

from ..markdown import table
from ..timing import RESULTS
from .curves import FLAT, WINDOW, Combination, combinations
from .studies import RECIPES

PAGE = Path("docs/photographs.md")
TEXT = """\
# How well it learns photographs

Detectors with EfficientViT, beside stock yolov5n and yolov5s. Real YOLOv5 v7.0 trains all of them from scratch, with the same
recipes and the same number of epochs. M0, M1 and M2 are `yolov5-efficientvit.yaml`, `yolov5-efficientvit-m1.yaml` and
`yolov5-efficientvit-m2.yaml`.

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="pictures/photographs-dark.svg">
  <img alt="mAP50-95 by epoch, a panel for each recipe, a curve for each detector" src="pictures/photographs-light.svg">
</picture>

## Models

{models}

- **Data:** photographs of playing cards, {train[images]} with {train[boxes]} boxes of {classes} classes to train on, and
  {val[images]} with {val[boxes]} boxes to validate. [Get them](#data-sets).
- **Training:** {image_size} px, {batch_size} images in a batch, {epochs} epochs, float32 on a CPU.
- **Scores:** YOLOv5 prints them after each epoch. The last epoch counts, not the best. Where there are several seeds, the table
  has the median, and the lowest and the highest in brackets.
- **Gain in the last quarter** of the epochs: the mean mAP50-95 of the last {window} epochs, less the mean of the {window} epochs
  before that quarter. We call a curve flat if it gains at most {limit}. {flatness}
- **Below the best:** how far mAP50-95 of the last epoch is below the best epoch.
- **Minutes:** the median of the trainings, with one thread each, beside other work on the machine.
- **ms per image:** the forward pass of one image of {image_size} px, with batch norms folded, in one thread of a CPU ({processor}).
  The models took turns in one run.

The data set is small. On your data another detector may be ahead.{spread}

```
make build/hosts/7.0.14/unpacked
.venv/bin/python -m benchmarks.photographs --data FOLDER --study models
.venv/bin/python -m benchmarks.photographs.speed
.venv/bin/python -m benchmarks.photographs.page
```

The first command fetches YOLOv5, the last one writes this page and its picture.

## Recipes

`.venv/bin/python -m benchmarks.photographs --data FOLDER --study recipes` trains M0 with one seed by each recipe.

{recipes}

"SGD" is YOLOv5's `hyp.scratch-low.yaml`, unchanged. The number behind AdamW is its learning rate, `lr0`. With AdamW,
`weight_decay` is 0.025, as in the paper, and `warmup_bias_lr` is 0.01, unless the table says otherwise.
{causes}{bccd}
## Data sets

`FOLDER` is a data set in YOLO format: a `data.yaml` with `train`, `val` and `names`, photographs in folders called `images`, and
a folder `labels` beside each. The benchmark checks it before it trains. If a folder is missing, a label is wrong or there are
no labels, it stops and names the file.

| data set | photographs | licence | where |
| --- | --- | --- | --- |
| playing cards | 363 | Apache-2.0 | [EdjeElectronics]({cards}) |
| BCCD, blood cells | 364 | MIT | [Shenggan/BCCD_Dataset]({cells}) |

Both have their boxes in XML. `examples/voc_to_yolo.py` lays them out:

```
git clone --depth 1 {cards} cards
python examples/voc_to_yolo.py playing-cards cards/images/train cards/images/test
git clone --depth 1 {cells}
python examples/voc_to_yolo.py bccd BCCD_Dataset/BCCD/ImageSets/Main/train.txt BCCD_Dataset/BCCD/ImageSets/Main/val.txt
```

For the tables above, the photographs of playing cards were scaled down to 416 px on the long side. Data sets that Roboflow
Universe exports as "YOLOv5 PyTorch" need no conversion; each names its licence.

## How a study runs

- A study takes hours on a CPU. Stop it when you like. The same command continues from the last epoch, and does not repeat a
  finished training.
- `--models`, `--recipes`, `--seeds`, `--epochs` and `--image-size` choose what to train. Save such results to another file with
  `--result`.
- YOLOv5's validation skips images if suppressing boxes takes too long. A busy machine would lower the scores, so the benchmark
  removes this limit from its copy of YOLOv5.
"""
CAUSES = """
## Why M0 learns slowly at first

`.venv/bin/python -m benchmarks.photographs --data FOLDER --study causes` trains M0 by SGD with one seed, and changes one
thing at a time.

{table}

The schedule ends after {epochs} epochs, so these scores differ from those above.
"""
ANOTHER = """
## Another data set

The same benchmark on [BCCD](#data-sets): {train[images]} photographs of blood cells to train on, {val[images]} to validate.
This shows that the benchmark runs elsewhere. One seed and {epochs} epochs do not show which detector is better.

{table}

```
.venv/bin/python -m benchmarks.photographs --data bccd --models yolov5-efficientvit yolov5n --recipes SGD --seeds 0 \
--epochs 20 --result bccd.json
```
"""
CARDS = "https://github.com/EdjeElectronics/TensorFlow-Object-Detection-API-Tutorial-Train-Multiple-Objects-Windows-10"
CELLS = "https://github.com/Shenggan/BCCD_Dataset"


def main() -> None:
    """Write the page and the picture."""
    PAGE.write_text(text(), encoding="utf-8")
    write_pictures("photographs")


def text() -> str:
    """Return the page. A study without results has no section."""
    models, recipes, speed = read("models"), read("recipes"), read("speed")
    parts = {"causes": CAUSES, "bccd": ANOTHER}
    sections = {
        name: part.format(table=progress(study), epochs=study["epochs"], **study["data set"])
        for name, part in parts.items()
        if (study := read(name))
    }
    return TEXT.format(
        **{key: models[key] for key in ("image_size", "batch_size", "epochs")},
        processor=speed["environment"]["processor"],
        **models["data set"],
        models=results(models, {row["model"]: row["ms"] for row in speed["rows"]}),
        window=WINDOW,
        limit=FLAT,
        flatness=flatness(combinations(models)),
        spread=spread(combinations(models)),
        recipes=progress(recipes),
        **{name: sections.get(name, "") for name in parts},
        cards=CARDS,
        cells=CELLS,
    )


def read(name: str) -> dict[str, Any]:
    """Return the results of a study, or nothing if there are none."""
    file = RESULTS / f"photographs_{name}.json"
    content: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return content


def in_order(study: dict[str, Any]) -> list[Combination]:
    """Return the combinations by recipe, as RECIPES has them."""
    return sorted(combinations(study), key=lambda each: list(RECIPES).index(each.recipe))


def results(study: dict[str, Any], speed: dict[str, float]) -> str:
    """Return a row for each model and recipe, with what it scores in the end and what it costs."""
    heads = ["", "recipe", "seeds", "mAP50", "mAP50-95", "gain in the last quarter", "below the best"]
    rows = [
        [
            *(NAMES[each.model], each.recipe, len(each.runs), score(each, "mAP50"), score(each, "mAP50-95")),
            *(
                f"{each.late_gain():.3f}",
                f"{each.below_best():.3f}",
                f"{each.minutes():.0f}",
                f"{speed[each.model]:.1f}",
            ),
        ]
        for each in in_order(study)
    ]
    return table([*heads, "minutes", "ms per image"], rows)


def progress(study: dict[str, Any]) -> str:
    """Return a row for each model and recipe: mAP50-95 after a third, two thirds and all of the epochs, and mAP50."""
    thirds = [study["epochs"] * third // 3 for third in (1, 2, 3)]
    heads = ["", "recipe", *(f"mAP50-95 after {epoch} epochs" for epoch in thirds), "mAP50", "minutes"]
    rows = [
        [
            *(NAMES[each.model], each.recipe, *(score(each, "mAP50-95", epoch) for epoch in thirds)),
            *(score(each, "mAP50"), f"{each.minutes():.0f}"),
        ]
        for each in in_order(study)
    ]
    return table(heads, rows)


def score(combination: Combination, name: str, epoch: int = 0) -> str:
    """Word the score after an epoch, or after the last one."""
    values = [curve[epoch - 1] for curve in combination.curves(name)]
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.3f}{spread}"


def flatness(all_of_them: list[Combination]) -> str:
    """Say how many curves are flat."""
    flat = sum(each.late_gain() <= FLAT for each in all_of_them)
    if flat in (0, len(all_of_them)):
        return "All curves are flat." if flat else "No curve is flat yet: all of them still rise."
    return f"{flat} of {len(all_of_them)} curves {'is' if flat == 1 else 'are'} flat; the others still rise."


def spread(all_of_them: list[Combination]) -> str:
    """Say how much seeds differ, if there are several."""
    last = [[curve[-1] for curve in each.curves()] for each in all_of_them]
    widest = max(max(scores) - min(scores) for scores in last)
    return f" Seeds of one detector differ by up to {widest:.3f} in mAP50-95." if widest else ""


if __name__ == "__main__":
    main()
