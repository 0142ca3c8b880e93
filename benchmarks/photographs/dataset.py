"""A data set in YOLO format: found, checked and described before hours are spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def check_dataset(given: Path) -> dict[str, Any]:
    """Read and check a data set.

    Args:
        given: its folder, with a `data.yaml` in it, or its yaml file.

    Returns:
        What YOLOv5 wants in its own yaml, with absolute paths; and `counts`: images and boxes of each split.

    Raises:
        SystemExit: something is missing or wrong; it names the file.
    """
    file = given / "data.yaml" if given.is_dir() else given
    if not file.is_file():
        raise SystemExit(f"{file} is not there. Give the folder that holds data.yaml, or the yaml file itself.")
    content = read_yaml(file)
    names = content["names"]
    data: dict[str, Any] = {"nc": len(names), "names": names, "counts": {}}
    for split in ("train", "val"):
        folder = folder_of(file, content, split)
        data[split] = str(folder)
        images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not images:
            raise SystemExit(f"{file}: {split} is {content[split]}, and {folder} holds no images.")
        boxes = sum(count_boxes(labels_of(image), len(names)) for image in images)
        if not boxes:
            raise SystemExit(
                f"{folder} has {len(images)} images and no label. YOLOv5 looks for the labels of {images[0]} in "
                f"{labels_of(images[0])}."
            )
        data["counts"][split] = {"images": len(images), "boxes": boxes}
    return data


def read_yaml(file: Path) -> dict[str, Any]:
    """Return the content of a data set's yaml, with the names of its classes as a list."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SystemExit(f"{file} is no yaml: {error}") from None
    if not isinstance(content, dict) or not {"train", "val", "names"} <= set(content):
        raise SystemExit(f"{file} needs three entries: train and val (folders of images), and names (of the classes).")
    names = content["names"]
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise SystemExit(f"{file}: names is {names}. Give a list of the classes, or their names by number from 0 on.")
    if content.get("nc", len(names)) != len(names):
        raise SystemExit(f"{file}: nc is {content['nc']}, and names has {len(names)} classes.")
    return {**content, "names": names}


def folder_of(file: Path, content: dict[str, Any], split: str) -> Path:
    """Return the folder of a split's images. As in YOLOv5, `../` at its beginning may be one folder too many."""
    given = content[split]
    if not isinstance(given, str):
        raise SystemExit(f"{file}: {split} is {given}. Give one folder of images.")
    root = file.parent / (content.get("path") or "")
    folder = (root / given).resolve()
    if not folder.is_dir() and given.startswith("../"):
        folder = (root / given[3:]).resolve()
    if not folder.is_dir():
        raise SystemExit(f"{file}: {split} is {given}, and {folder} is no folder.")
    return folder


def labels_of(image: Path) -> Path:
    """Return where YOLOv5 looks for the labels of an image: the last folder `images` becomes `labels`."""
    parts: list[str] = list(image.parts)
    for number in reversed(range(len(parts) - 1)):
        if parts[number] == "images":
            parts[number] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def count_boxes(labels: Path, classes: int) -> int:
    """Return how many boxes a file of labels has; none if it does not exist, which YOLOv5 takes for background."""
    if not labels.is_file():
        return 0
    try:
        lines = {number: line.split() for number, line in enumerate(labels.read_text("utf-8").splitlines(), 1)}
    except UnicodeDecodeError:
        raise SystemExit(f"{labels} is no text file.") from None
    lines = {number: line for number, line in lines.items() if line}
    for number, line in lines.items():
        try:
            cls, *box = map(float, line)
        except ValueError:
            raise SystemExit(f"{labels}, line {number}: {' '.join(line)} are not numbers.") from None
        if not (cls.is_integer() and 0 <= cls < classes):
            raise SystemExit(f"{labels}, line {number}: class {line[0]}; the yaml has classes 0 to {classes - 1}.")
        if len(box) != 4 or not all(0 <= value <= 1 for value in box):
            raise SystemExit(
                f"{labels}, line {number}: {' '.join(line)}. A line is a class and the box's centre, width and "
                "height, each as a share of the image from 0 to 1."
            )
    return len(lines)
