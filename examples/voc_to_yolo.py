"""Lay out photographs with boxes in XML, as Pascal VOC and labelImg write them, as YOLOv5 reads them.

    python voc_to_yolo.py NEW_FOLDER TRAIN VAL

TRAIN and VAL are each a list of Pascal VOC, such as VOC2012/ImageSets/Main/train.txt, or a folder with photographs and
their XML files. NEW_FOLDER gets copies of the photographs, their labels, and data.yaml.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

PHOTOS = {".bmp", ".jpeg", ".jpg", ".png"}


def convert(new: Path, sources: dict[str, Path]) -> None:
    """Write the data set, and print what is in it."""
    if new.exists():
        sys.exit(f"{new} exists already; name a folder that does not")
    boxes = {split: {xml: boxes_of(xml) for xml in xml_files(source)} for split, source in sources.items()}
    names = sorted({name for split in boxes.values() for found in split.values() for name, *_ in found})
    photos = {xml: photo_of(xml) for split in boxes.values() for xml in split}
    for split, by_file in boxes.items():
        images, labels = (new / folder / split for folder in ("images", "labels"))
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for xml, found in by_file.items():
            shutil.copyfile(photos[xml], images / photos[xml].name)
            lines = [" ".join([str(names.index(name)), *(f"{share:.6f}" for share in box)]) for name, *box in found]
            (labels / f"{xml.stem}.txt").write_text("".join(f"{line}\n" for line in lines))
        print(f"{split}: {len(by_file)} photographs, {sum(map(len, by_file.values()))} boxes")
    entries = {"path": str(new.resolve()), **{split: f"images/{split}" for split in sources}, "names": names}
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in entries.items()]  # JSON is YAML
    (new / "data.yaml").write_text("".join(lines), encoding="utf-8")


def xml_files(source: Path) -> list[Path]:
    """Return the XML files of a folder, or those that a list of Pascal VOC names."""
    if source.is_dir():
        files = sorted(source.glob("*.xml"))
    elif source.is_file():
        folder = source.resolve().parents[2] / "Annotations"
        files = [folder / f"{line.split()[0]}.xml" for line in source.read_text().splitlines() if line.strip()]
    else:
        sys.exit(f"{source} is not there")
    if not files:
        sys.exit(f"{source} has no XML file")
    return files


def photo_of(xml: Path) -> Path:
    """Return the photograph of an XML file: beside it, or in the folder that Pascal VOC gives photographs."""
    folder = xml.parents[1] / "JPEGImages" if xml.parent.name == "Annotations" else xml.parent
    for photo in sorted(folder.glob(f"{xml.stem}.*")):
        if photo.suffix.lower() in PHOTOS:
            return photo
    sys.exit(f"{folder} has no photograph {xml.stem}, which {xml} belongs to")


def boxes_of(xml: Path) -> list[tuple[str, float, float, float, float]]:
    """Return name, centre, width and height of each box, as shares of the photograph."""
    boxes = []
    try:
        annotation = ElementTree.fromstring(xml.read_bytes())  # noqa: S314  expat itself stops entity bombs
        width, height = (number(annotation, f"size/{side}") for side in ("width", "height"))
        for thing in annotation.iter("object"):
            left, top, right, bottom = (number(thing, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax"))
            left, right = max(left, 0) / width, min(right, width) / width
            top, bottom = max(top, 0) / height, min(bottom, height) / height
            if left < right and top < bottom:
                name = thing.findtext("name", "").strip()
                boxes.append((name, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top))
            else:
                print(f"{xml}: a box without area is left out")
    except (OSError, ElementTree.ParseError, ValueError, ZeroDivisionError) as error:
        sys.exit(f"{xml} cannot be read: {error}")
    return boxes


def number(element: ElementTree.Element, path: str) -> float:
    """Return the number at a path below an element."""
    text = element.findtext(path)
    try:
        return float(text or "")
    except ValueError:
        raise ValueError(f"{path} is {'missing' if text is None else text}") from None


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    convert(Path(sys.argv[1]), {"train": Path(sys.argv[2]), "val": Path(sys.argv[3])})
