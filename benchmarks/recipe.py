"""Fine-tuning on little data in several ways, side by side: `.venv/bin/python -m benchmarks.recipe`.

Run after `make demo`, whose trained detector gives the pretrained weights and whose patched YOLOv5 trains: 60 images of
other shapes than those of the demonstration, 80 to validate on. Each way is trained with several seeds; the median and
the range of their mAP50 are printed and written as JSON.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import yaml

from demo.dataset import OTHER_CLASSES, write_dataset
from demo.host import Host, scores

BUILD = Path("build/recipe")
DEMO = Path("build/demo")
RESULT = Path("benchmarks/results/recipe.json")
IMAGE_SIZE = 96  # pixels
EPOCHS = 30
SEEDS = (0, 1, 2)
PRETRAINED = (DEMO / "train" / "weights" / "best.pt").resolve()

# What differs from the first way of docs/training.md: arguments of the yaml row, optimizer, hyperparameters.
WAYS: dict[str, dict[str, Any]] = {
    "recommended": {},
    "from scratch": {"row": []},
    "frozen stem and stage 1": {"row": [str(PRETRAINED), 2]},
    "frozen backbone": {"row": [str(PRETRAINED), 4]},
    "SGD, lr0 0.01": {"optimizer": "SGD", "lr0": 0.01},
    "lr0 0.016": {"lr0": 0.016},
    "warmup_bias_lr 0.1": {"warmup_bias_lr": 0.1},
}


def main() -> None:
    """Train each way with each seed, print a table and write it as JSON."""
    if not PRETRAINED.is_file():
        raise SystemExit(f"{PRETRAINED} is not there yet; run `make demo` first")
    host = Host(DEMO / "yolov5", DEMO / "config")
    counts = {"train": 60, "val": 80}
    data = write_dataset(BUILD / "data", IMAGE_SIZE, counts, OTHER_CLASSES).resolve()
    rows = []
    for name, way in WAYS.items():
        found = [train(host, data, way, seed) for seed in SEEDS]
        rows.append({"way": name, "map50": statistics.median(found), "lowest": min(found), "highest": max(found)})
    print(f"\n{'way':<28}{'mAP50':>8}   from - to, of {len(SEEDS)} seeds")
    for row in rows:
        print(f"{row['way']:<28}{row['map50']:>8.3f}   {row['lowest']:.3f} - {row['highest']:.3f}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")


def train(host: Host, data: Path, way: dict[str, Any], seed: int) -> float:
    """Train one way, and return the mAP50 of its last epoch."""
    changes = dict(way)
    row, optimizer = changes.pop("row", [str(PRETRAINED)]), changes.pop("optimizer", "AdamW")
    model = yaml.safe_load((host.root / "models" / "yolov5-efficientvit.yaml").read_text())
    model["backbone"][0][3] = row
    hyperparameters = yaml.safe_load(Path("demo/hyp.yaml").read_text())
    files = {"model.yaml": model, "hyp.yaml": {**hyperparameters, **changes}}
    for name, content in files.items():
        (BUILD / name).write_text(yaml.safe_dump(content))
    settings = ["--cfg", (BUILD / "model.yaml").resolve(), "--hyp", (BUILD / "hyp.yaml").resolve(), "--weights", ""]
    settings += ["--data", data, "--img-size", IMAGE_SIZE, "--epochs", EPOCHS, "--batch-size", 20, "--workers", 2]
    settings += ["--optimizer", optimizer, "--seed", seed, "--cache", "--nosave", "--noplots"]
    settings += ["--project", BUILD.resolve(), "--name", "train", "--exist-ok", "--device", "cpu"]
    output = host.run("train", settings)
    output = output[: output.index("epochs completed in")]  # behind it is best.pt, perhaps of an earlier run
    return scores(output)[2]


if __name__ == "__main__":
    main()
