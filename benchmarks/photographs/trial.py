"""One training: a model by a recipe with a seed, in a process of real YOLOv5."""

from __future__ import annotations

import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import yaml

from demo.host import Host

from ..scores import read_scores
from .studies import RECIPES

TABLE = "results.csv"  # YOLOv5's
SECONDS = "seconds.txt"  # the duration of the training so far


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
        if epochs_of(folder) < setting.epochs:
            self.run(setting, folder)
        minutes = round(seconds_of(folder) / 60, 1)
        scores = read_scores(folder / TABLE)
        return {"model": self.model, "recipe": self.recipe, "seed": self.seed, "minutes": minutes, **scores}

    def run(self, setting: Setting, folder: Path) -> None:
        """Run train.py to its end, or until the study is stopped; keep its output and its duration in the folder."""
        last = folder / "weights" / "last.pt"
        if zipfile.is_zipfile(last):  # it is not if the run was cut off while YOLOv5 wrote it
            arguments: list[object] = ["--resume", last]
        else:
            (folder / TABLE).unlink(missing_ok=True)
            (folder / SECONDS).unlink(missing_ok=True)
            arguments = self.arguments(setting, folder)
        altered = RECIPES[self.recipe].altered
        module, arguments = ("altered", [altered, *arguments]) if altered else ("train", arguments)
        began, before, done = time.monotonic(), seconds_of(folder), epochs_of(folder)
        with (folder / "log.txt").open("ab") as log:
            process = setting.host.start(module, arguments, log)
            try:
                while process.poll() is None and not setting.stop.wait(1):
                    if epochs_of(folder) > done:
                        done = epochs_of(folder)
                        (folder / SECONDS).write_text(f"{before + time.monotonic() - began:.0f}")
                        if done % 10 == 0:
                            print(f"{self}: {done} of {setting.epochs} epochs", flush=True)
            finally:
                process.terminate()
        if process.wait():
            raise SystemExit(f"{self}: training ended with exit code {process.returncode}; see {folder}/log.txt")

    def arguments(self, setting: Setting, folder: Path) -> list[object]:
        """Return the arguments of train.py, and write the hyperparameters they name."""
        recipe = RECIPES[self.recipe]
        scratch = setting.host.root / "data" / "hyps" / "hyp.scratch-low.yaml"
        hyperparameters = {**yaml.safe_load(scratch.read_text(encoding="utf-8")), **recipe.changes}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(hyperparameters, sort_keys=False))
        return [
            *("--cfg", f"{self.model}.yaml", "--weights", "", "--data", setting.data),
            *("--hyp", folder / "recipe.yaml", "--optimizer", recipe.optimizer, "--seed", self.seed),
            *("--img-size", setting.image_size, "--batch-size", setting.batch_size, "--epochs", setting.epochs),
            *("--patience", 0, "--cache", "ram", "--workers", 1, "--noplots", "--device", "cpu"),
            *("--project", setting.folder, "--name", folder.name, "--exist-ok"),
        ]


def epochs_of(folder: Path) -> int:
    """Return how many epochs a training has finished."""
    return len(read_scores(folder / TABLE)["mAP50"])


def seconds_of(folder: Path) -> float:
    """Return how long these epochs took."""
    return float((folder / SECONDS).read_text()) if (folder / SECONDS).is_file() else 0.0
