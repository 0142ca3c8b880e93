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
    """Run the missing trainings of a study, and write the results after each."""
    options = parse_options(argv)
    data = check_dataset(options.data)
    study = study_of(options)
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
    setting = prepare((BUILD / result.stem).resolve(), data, options, study.epochs)
    trials = missing_trials(study, runs)
    print(f"{len(trials)} trainings to do, {len(runs)} done", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(trial.train, setting): trial for trial in trials}
        try:
            for future in as_completed(futures):
                run = future.result()
                runs.append(run)
                print(f"{futures[future]}: {run['mAP50'][-1]} {run['mAP50-95'][-1]}, {run['minutes']} min", flush=True)
                write_whole(result, {**settings, "environment": environment(), "runs": sorted(runs, key=table_order)})
        finally:
            setting.stop.set()
            pool.shutdown(cancel_futures=True)
    return 0


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
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
    return parser.parse_args(argv)


def study_of(options: argparse.Namespace) -> Study:
    """Return the study to make: a named one, with what the options change in it."""
    chosen = STUDIES[options.study]
    return Study(
        tuple(options.models or chosen.models),
        tuple(options.recipes or chosen.recipes),
        tuple(options.seeds or chosen.seeds),
        options.epochs or chosen.epochs,
    )


def missing_trials(study: Study, runs: list[dict[str, Any]]) -> list[Trial]:
    """Return the trainings of a study that are not among the finished runs."""
    known = set(map(key_of, runs))
    return [
        Trial(model, recipe, seed)
        for seed in study.seeds  # outermost, so that a study cut short has all models and recipes
        for model in study.models
        for recipe in study.recipes
        if (model, recipe, seed) not in known
    ]


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
    """Return the finished runs in the file of results, none if there is no such file.

    Raises:
        SystemExit: the file was made with other settings.
    """
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
    """Return the runs of this study that another study has finished with the same settings."""
    known = {key_of(run) for run in runs}
    found = []
    for other in sorted(RESULTS.glob("photographs_*.json")):
        content = json.loads(other.read_text())
        if other != result and all(content.get(key) == value for key, value in settings.items()):
            for run in content["runs"]:
                model, recipe, seed = key_of(run)
                wanted = model in study.models and recipe in study.recipes and seed in study.seeds
                if wanted and key_of(run) not in known:
                    found.append(run)
    return found


def key_of(run: dict[str, Any]) -> tuple[str, str, int]:
    """Return what identifies a training in its study: model, recipe and seed."""
    return run["model"], run["recipe"], run["seed"]


def table_order(run: dict[str, Any]) -> tuple[int, int, int]:
    """Return a sort key: the places of model and recipe in the tables, then the seed."""
    return [*OURS, *STOCK].index(run["model"]), list(RECIPES).index(run["recipe"]), run["seed"]


def write_whole(result: Path, content: dict[str, Any]) -> None:
    """Write a JSON file completely or not at all."""
    partial = result.with_suffix(".partial")
    partial.write_text(json.dumps(content) + "\n")
    os.replace(partial, result)


if __name__ == "__main__":
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; the same command goes on"))
    sys.exit(main())
