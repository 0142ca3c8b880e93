"""One training: a model by a recipe with a seed, in a process of real YOLOv5."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import yaml

from demo.host import Host

from .studies import RECIPES

SCORES = {"mAP50": "metrics/mAP_0.5", "mAP50-95": "metrics/mAP_0.5:0.95"}


@dataclass(frozen=True)
class Setting:
    """What all trainings of a study share."""

    host: Host
    data: Path
    folder: Path
    image_size: int
    batch_size: int
    epochs: int
    stop: Event


@dataclass(frozen=True)
class Trial:
    """A model by a recipe with a seed."""

    model: str
    recipe: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model}, {self.recipe}, seed {self.seed}"

    def train(self, setting: Setting) -> dict[str, Any]:
        """Train, or go on where an earlier run was cut off, and return the scores of each epoch."""
        folder = setting.folder / str(self).replace(", ", "-").replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        table, last = folder / "results.csv", folder / "weights" / "last.pt"
        earlier = folder / "seconds.txt"
        before = float(earlier.read_text()) if earlier.is_file() else 0.0
        done = len(read_scores(table)["mAP50"])
        if done < setting.epochs:
            arguments = ["--resume", last] if done and last.is_file() else self.arguments(setting, folder)
            command = [sys.executable, "-m", setting.host.prefix + "train", *map(str, arguments)]
            began = time.monotonic()
            with (folder / "log.txt").open("a") as log:
                process = subprocess.Popen(
                    command,
                    cwd=setting.host.import_path,
                    env=setting.host.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                try:
                    while process.poll() is None and not setting.stop.wait(1):
                        scores = read_scores(table)["mAP50"]
                        if len(scores) // 10 > done // 10:
                            print(f"{self}: epoch {len(scores)} of {setting.epochs}, mAP50 {scores[-1]}", flush=True)
                        if len(scores) > done:
                            done = len(scores)
                            earlier.write_text(f"{before + time.monotonic() - began:.0f}")
                finally:
                    process.terminate()
            if process.wait():
                raise SystemExit(f"{self}: training ended with exit code {process.returncode}; see {folder}/log.txt")
        scores = read_scores(table)
        minutes = round(float(earlier.read_text()) / 60, 1)
        return {"model": self.model, "recipe": self.recipe, "seed": self.seed, "minutes": minutes, **scores}

    def arguments(self, setting: Setting, folder: Path) -> list[object]:
        """Return the arguments of train.py, and write the hyperparameters they name."""
        recipe = RECIPES[self.recipe]
        scratch = setting.host.root / "data" / "hyps" / "hyp.scratch-low.yaml"
        hyperparameters = {**yaml.safe_load(scratch.read_text(encoding="utf-8")), **recipe.changes}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(hyperparameters, sort_keys=False))
        return [
            *("--cfg", f"{self.model}.yaml", "--weights", "", "--data", setting.data),
            *("--hyp", folder.resolve() / "recipe.yaml", "--optimizer", recipe.optimizer, "--seed", self.seed),
            *("--img-size", setting.image_size, "--batch-size", setting.batch_size, "--epochs", setting.epochs),
            *("--patience", 0, "--cache", "ram", "--workers", 1, "--noplots", "--device", "cpu"),
            *("--project", setting.folder.resolve(), "--name", folder.name, "--exist-ok"),
        ]


def read_scores(table: Path) -> dict[str, list[float]]:
    """Return the validation scores of each epoch, from the table that YOLOv5 writes."""
    if not table.is_file():
        return {name: [] for name in SCORES}
    with table.open(newline="") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    by_epoch = {int(row["epoch"]): row for row in rows}  # a training that goes on may repeat its last epoch
    return {name: [round(float(row[column]), 4) for row in by_epoch.values()] for name, column in SCORES.items()}
