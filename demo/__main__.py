"""Patches a copy of a YOLOv5 checkout, trains a detector with EfficientViT in it, validates, and detects."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from pathlib import Path

import apply_patch

from .contact_sheet import write_contact_sheet
from .dataset import CLASSES, write_dataset
from .host import Host
from .repair import repair

BUILD = Path("build/demo")
MODEL = "yolov5-efficientvit.yaml"
HYPERPARAMETERS = Path(__file__).with_name("hyp.yaml")
IMAGE_SIZE = 96  # pixels; five minutes are not enough for more
BATCH_SIZE = 64
EPOCHS = 38


def main() -> int:
    """Run the demonstration; see `make demo`."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("checkout", type=Path, help="a YOLOv5 checkout; only a copy of it is changed")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()

    step("Copy YOLOv5 and patch the copy")
    host = Host(copy_checkout(options.checkout), BUILD / "config")
    repair(host.root)
    if apply_patch.main([str(host.root)]):
        return 1

    step("Draw the data set")
    photographs = sorted((host.root / "data" / "images").glob("*.jpg"))
    data = write_dataset(BUILD / "data", photographs, IMAGE_SIZE).resolve()

    step(f"Train {MODEL} from scratch, {options.epochs} epochs at {IMAGE_SIZE} px")
    common = ["--img-size", IMAGE_SIZE, "--project", BUILD.resolve(), "--exist-ok", "--device", "cpu"]
    started = time.monotonic()
    settings = ["--cfg", host.root / "models" / MODEL, "--weights", "", "--data", data]
    settings += ["--epochs", options.epochs, "--batch-size", BATCH_SIZE, "--workers", 2, "--cache"]
    settings += ["--hyp", HYPERPARAMETERS.resolve(), "--optimizer", "AdamW"]
    trained = host.run("train", [*settings, *common, "--name", "train"])
    minutes = (time.monotonic() - started) / 60
    weights = (BUILD / "train" / "weights" / "best.pt").resolve()

    step("Validate")
    validated = host.run(host.val_module, ["--weights", weights, "--data", data, *common, "--name", "val"])

    step("Detect on images it has not seen")
    unseen = data.parent / "images" / "unseen"
    saving = ["--save-txt", "--save-conf", "--name", "detect"]
    host.run("detect", ["--weights", weights, "--source", unseen, *common, *saving])
    sheet = BUILD / "contact_sheet.jpg"
    pictures = sorted(unseen.glob("*.png")) + sorted(unseen.glob("*.jpg"))
    write_contact_sheet(pictures, BUILD / "detect" / "labels", CLASSES, sheet)

    step("Done")
    summary(trained, validated, minutes)
    print(f"\nweights        {weights}\ncurves         {weights.parents[1] / 'results.png'}")
    print(f"detections     {sheet.resolve()}")
    return 0


def copy_checkout(checkout: Path) -> Path:
    """Return a fresh copy of the checkout under `BUILD`, without its history and runs."""
    if not (checkout / "models" / "yolo.py").is_file():
        raise SystemExit(f"{checkout} is not a YOLOv5 checkout: it has no models/yolo.py. Set YOLOV5=path/to/yolov5.")
    copy = BUILD / "yolov5"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "runs", "__pycache__"))
    return copy


def summary(trained: str, validated: str, minutes: float) -> None:
    """Print the result, read from what YOLOv5 printed."""
    parameters = re.findall(r"([\d,]+) parameters", trained)
    # the row of all classes: images, instances, precision, recall, mAP50, mAP50-95
    scores = re.findall(r"^\s*all" + r"\s+([\d.e+-]+)" * 6 + r"\s*$", validated, re.MULTILINE)
    print(f"{'model':<26}{'parameters':>12}{'mAP50':>8}{'mAP50-95':>10}{'minutes':>9}")
    print(f"{MODEL:<26}{parameters[0]:>12}{float(scores[-1][4]):>8.3f}{float(scores[-1][5]):>10.3f}{minutes:>9.1f}")


def step(title: str) -> None:
    """Head a part of the output."""
    print(f"\n=== {title}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
