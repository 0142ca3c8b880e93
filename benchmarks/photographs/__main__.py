"""Trains detectors on a data set of photographs, and writes every seed's curve.

A study takes hours on a CPU. It may be stopped at any time: the same command goes on from the last epoch, and
trainings that are done are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event
from typing import Any, Sequence

import torch
import yaml

from ..host import OURS, STOCK, patched_host
from ..timing import RESULTS, environment
from .dataset import check_dataset
from .studies import RECIPES, STUDIES, Study
from .trial import Setting, Trial

BUILD = Path("build/photographs")


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is not trained yet, and write the results after each training."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with a data.yaml, in YOLO format")
    parser.add_argument("--study", choices=STUDIES, default="models", help="what to train (default: models)")
    parser.add_argument("--models", nargs="+", choices=[*OURS, *STOCK], metavar="YAML", help="other models")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, metavar="RECIPE", help="other recipes")
    parser.add_argument("--seeds", nargs="+", type=int, help="other seeds")
    parser.add_argument("--epochs", type=int, help="another number of epochs")
    parser.add_argument("--image-size", type=int, default=320, help="pixels (default: 320)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each (default: 2)")
    parser.add_argument("--result", type=Path, help="default: benchmarks/results/photographs_<study>.json")
    options = parser.parse_args(argv)

    data = check_dataset(options.data)
    chosen = STUDIES[options.study]
    study = Study(
        tuple(options.models or chosen.models),
        tuple(options.recipes or chosen.recipes),
        tuple(options.seeds or chosen.seeds),
        options.epochs or chosen.epochs,
    )
    result = options.result or RESULTS / f"photographs_{options.study}.json"
    settings = {
        "data set": {"name": options.data.resolve().name, "classes": data["nc"], **data.pop("counts")},
        "image_size": options.image_size,
        "batch_size": options.batch_size,
        "epochs": study.epochs,
    }
    runs = earlier_runs(result, settings)
    if not options.result:
        runs += shared_runs(result, settings, study, runs)
    folder = (BUILD / result.stem).resolve()
    setting = prepare(folder, data, options, study.epochs)
    known = set(map(key_of, runs))
    trials = [
        Trial(model, recipe, seed)
        for seed in study.seeds  # outermost, so that a study cut short has all models and recipes
        for model in study.models
        for recipe in study.recipes
        if (model, recipe, seed) not in known
    ]
    print(f"{len(trials)} trainings to do, {len(runs)} done", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(trial.train, setting): trial for trial in trials}
        try:
            for future in as_completed(futures):
                run = future.result()
                runs.append(run)
                print(f"{futures[future]}: {run['mAP50'][-1]} {run['mAP50-95'][-1]}, {run['minutes']} min", flush=True)
                write(result, {**settings, "environment": environment(), "runs": sorted(runs, key=order)})
        finally:
            setting.stop.set()
            pool.shutdown(cancel_futures=True)
    return 0


def prepare(folder: Path, data: dict[str, Any], options: argparse.Namespace, epochs: int) -> Setting:
    """Patch a copy of YOLOv5, with altered.py beside its train.py, and write its data yaml."""
    host = patched_host(folder / "yolov5")
    lift_time_limit(host.root / "utils" / "general.py")
    shutil.copy(Path(__file__).with_name("altered.py"), host.root)
    host.environment["OMP_NUM_THREADS"] = "1"
    (folder / "data.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return Setting(
        host, (folder / "data.yaml").resolve(), folder, options.image_size, options.batch_size, epochs, Event()
    )


def lift_time_limit(file: Path) -> None:
    """Let validation suppress the boxes of every image.

    YOLOv5 gives up after a time, and takes the images that are left for empty. On a busy machine, or with many boxes to
    an image, scores would fall with the machine's speed.
    """
    text, count = re.subn(r"(\btime_limit = ).+", r"\g<1>1e6  # seconds", file.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"{file} sets time_limit {count} times; it should be once")
    file.write_text(text, encoding="utf-8")


def earlier_runs(result: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trainings that are done, if they were made with the same settings."""
    if not result.is_file():
        return []
    content = json.loads(result.read_text())
    runs: list[dict[str, Any]] = content.pop("runs")
    if different := [key for key, value in settings.items() if content.get(key) != value]:
        raise SystemExit(
            f"{result} was made with another {' and '.join(different)}. Give another file with --result, or remove it."
        )
    return runs


def shared_runs(
    result: Path, settings: dict[str, Any], study: Study, runs: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return trainings of this study that another one has done with the same settings."""
    known, found = {key_of(run) for run in runs}, []
    for other in sorted(RESULTS.glob("photographs_*.json")):
        content = json.loads(other.read_text())
        if other != result and all(content.get(key) == value for key, value in settings.items()):
            for run in content["runs"]:
                model, recipe, seed = key = key_of(run)
                if key not in known and model in study.models and recipe in study.recipes and seed in study.seeds:
                    found.append(run)
    return found


def key_of(run: dict[str, Any]) -> tuple[str, str, int]:
    """Return what tells a training from the others of its study."""
    return run["model"], run["recipe"], run["seed"]


def order(run: dict[str, Any]) -> tuple[int, int, int]:
    """Sort by model and recipe as the tables have them, then by seed."""
    return [*OURS, *STOCK].index(run["model"]), list(RECIPES).index(run["recipe"]), run["seed"]


def write(result: Path, content: dict[str, Any]) -> None:
    """Write a file as a whole or not at all."""
    partial = result.with_suffix(".partial")
    partial.write_text(json.dumps(content) + "\n")
    os.replace(partial, result)


if __name__ == "__main__":
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; the same command goes on"))
    sys.exit(main())
