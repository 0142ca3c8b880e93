"""Patches a copy of a YOLOv5 checkout, trains a detector with EfficientViT in it, validates and detects."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple, Sequence

import apply_patch

from .contact_sheet import write_contact_sheet
from .dataset import CLASSES, SPLITS, write_dataset
from .host import Host, scores
from .repair import repair

BUILD = Path("build/demo")
RESULT = BUILD / "result.json"
SHEET = BUILD / "contact_sheet.jpg"
MODEL = "yolov5-efficientvit.yaml"
STOCK = ("yolov5n.yaml", "yolov5s.yaml")  # the first that exists; v5.0 and some relatives have no n
HYPERPARAMETERS = Path(__file__).with_name("hyp.yaml")
IMAGE_SIZE = 96  # pixels; more would not be done in five minutes
BATCH_SIZE = 64
EPOCHS = 38
STOCK_EPOCHS = 1.5  # per epoch of ours: an epoch of yolov5n takes two thirds of the time on two cores


class Trained(NamedTuple):
    """A trained detector, and what YOLOv5 printed about it."""

    model: str
    folder: Path
    epochs: int
    minutes: float
    parameters: int
    map50: float
    map50_95: float

    @property
    def weights(self) -> Path:
        """The best checkpoint."""
        return self.folder / "weights" / "best.pt"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; see `make demo`."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("checkout", type=Path, help="a YOLOv5 checkout; only a copy of it is changed")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--compare", action="store_true", help="train a detector of YOLOv5's own for as long, too")
    parser.add_argument("--images", type=int, default=SPLITS["train"], help="images to train on; an eighth to validate")
    options = parser.parse_args(argv)

    step("1 of 4: copy YOLOv5 and patch the copy")
    host = Host(copy_checkout(options.checkout), BUILD / "config")
    repair(host.root)
    if apply_patch.main([str(host.root)]):
        return 1
    if not (host.root / "models" / MODEL).is_file():
        raise SystemExit(f"{MODEL} does not fit this relative of YOLOv5, as said above. Give a checkout of YOLOv5.")

    step("2 of 4: draw the data set")
    counts = {**SPLITS, "train": options.images, "val": max(1, options.images // 8)}
    data = write_dataset(BUILD / "data", IMAGE_SIZE, counts).resolve()

    step(f"3 of 4: train {MODEL} from scratch, {options.epochs} epochs at {IMAGE_SIZE} px, and validate")
    ours = train(host, MODEL, data, options.epochs, "train")

    step("4 of 4: detect on images it has not seen")
    detect(host, ours, data.parent / "images" / "unseen")

    rows = [ours]
    known = [name for name in STOCK if (host.root / "models" / name).is_file()]
    for model in known[: int(options.compare)]:
        epochs = round(options.epochs * STOCK_EPOCHS)
        step(f"to compare: train {model} the same way and for about as long, {epochs} epochs")
        rows.append(train(host, model, data, epochs, "train-stock"))

    step("done")
    RESULT.write_text(json.dumps([{**row._asdict(), "folder": str(row.folder)} for row in rows], indent=1) + "\n")
    print_table(rows)
    print(f"\nweights        {ours.weights}\ncurves         {ours.folder / 'results.png'}")
    print(f"detections     {SHEET.resolve()}")
    return 0


def detect(host: Host, trained: Trained, images: Path) -> None:
    """Detect on the images of a folder, and write the contact sheet."""
    saving = ["--save-txt", "--save-conf", "--name", "detect"]
    host.run("detect", ["--weights", trained.weights, "--source", images, *common(), *saving])
    write_contact_sheet(sorted(images.glob("*.png")), BUILD / "detect" / "labels", CLASSES, SHEET)
    print(f"detections: {SHEET.resolve()}")


def print_table(rows: list[Trained]) -> None:
    """Print a row for each detector."""
    print(f"{'model':<26}{'parameters':>12}{'epochs':>8}{'minutes':>9}{'mAP50':>8}{'mAP50-95':>10}")
    for row in rows:
        counts = f"{row.model:<26}{row.parameters:>12,}{row.epochs:>8}"
        print(f"{counts}{row.minutes:>9.1f}{row.map50:>8.3f}{row.map50_95:>10.3f}")


def common() -> list[object]:
    """Return the arguments common to training, validation and detection."""
    return ["--img-size", IMAGE_SIZE, "--project", BUILD.resolve(), "--exist-ok", "--device", "cpu"]


def train(host: Host, model: str, data: Path, epochs: int, name: str) -> Trained:
    """Train a model from scratch, in a folder called `name`, and validate its best checkpoint."""
    settings = ["--cfg", host.root / "models" / model, "--weights", "", "--data", data]
    settings += ["--epochs", epochs, "--batch-size", BATCH_SIZE, "--workers", 2, "--cache"]
    settings += ["--hyp", HYPERPARAMETERS.resolve()]
    chooses = "--optimizer" in (host.root / "train.py").read_text(encoding="utf-8")
    settings += ["--optimizer", "AdamW"] if chooses else ["--adam"]  # up to v6.0
    started = time.monotonic()
    printed = host.run("train", [*settings, *common(), "--name", name])
    minutes = (time.monotonic() - started) / 60
    parameters = int(re.findall(r"([\d,]+) parameters", printed)[0].replace(",", ""))
    folder = (BUILD / name).resolve()

    weights = folder / "weights" / "best.pt"
    printed = host.run(host.val_module, ["--weights", weights, "--data", data, *common(), "--name", f"{name}-val"])
    _, _, map50, map50_95 = scores(printed)
    return Trained(model, folder, epochs, minutes, parameters, map50, map50_95)


def copy_checkout(checkout: Path) -> Path:
    """Return a copy of the checkout, without its history and runs, in `BUILD`, whose earlier content is deleted.

    Raises:
        SystemExit: it is no checkout, or one of the two folders is inside the other.
    """
    if not (checkout / "models" / "yolo.py").is_file():
        raise SystemExit(f"{checkout} is not a YOLOv5 checkout: it has no models/yolo.py. Set YOLOV5=path/to/yolov5.")
    copy = BUILD / "yolov5"
    inside, around = checkout.resolve(), BUILD.resolve()
    if around in (inside, *inside.parents) or inside in around.parents:
        raise SystemExit(f"{checkout} and {BUILD}, where the copy goes, lie in one another. Give a checkout elsewhere.")
    shutil.rmtree(BUILD, ignore_errors=True)  # YOLOv5 would append to the labels of an earlier detection
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "runs", "__pycache__"))
    return copy


def step(title: str) -> None:
    """Print the title of a step."""
    print(f"\n=== {title}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
