"""examples/voc_to_yolo.py: photographs with boxes in XML become a data set that the benchmark takes."""

import subprocess
import sys

import pytest

pytest.importorskip("yaml")
from benchmarks.photographs.dataset import check_dataset
from tests import REPOSITORY

FOX, HEN = ("fox", 0, 0, 100, 50), ("hen", 150, 80, 220, 100)


def annotation(*boxes, width=200, height=100):
    """Return an XML file of an image of 200x100 pixels."""
    edges = ("xmin", "ymin", "xmax", "ymax")
    things = [
        f"<object><name>{name}</name><bndbox>{''.join(f'<{e}>{v}</{e}>' for e, v in zip(edges, box))}</bndbox></object>"
        for name, *box in boxes
    ]
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation>{size}{''.join(things)}</annotation>"


@pytest.fixture
def voc(tmp_path):
    """The folder of a data set in the form of Pascal VOC, and its lists; no list names the photograph d."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / "voc" / folder).mkdir(parents=True)
    for name, boxes in {"a": [HEN, FOX], "b": [], "c": [FOX], "d": [HEN]}.items():
        (tmp_path / "voc" / "Annotations" / f"{name}.xml").write_text(annotation(*boxes))
        (tmp_path / "voc" / "JPEGImages" / f"{name}.JPG").write_bytes(name.encode())
    lists = [tmp_path / "voc" / "ImageSets" / "Main" / f"{name}.txt" for name in ("train", "val")]
    lists[0].write_text("a  1\nb -1\n\n")
    lists[1].write_text("c\n")
    return lists


def convert(new, train, val):
    command = [sys.executable, REPOSITORY / "examples" / "voc_to_yolo.py", new, train, val]
    return subprocess.run(command, capture_output=True, text=True)


def test_lists_of_pascal_voc(voc, tmp_path):
    done = convert(tmp_path / "new", *voc)
    assert done.stdout.splitlines() == ["train: 2 photographs, 2 boxes", "val: 1 photographs, 1 boxes"], done.stderr
    data = check_dataset(tmp_path / "new")
    assert data["names"] == ["fox", "hen"]
    assert data["counts"] == {"train": {"images": 2, "boxes": 2}, "val": {"images": 1, "boxes": 1}}
    labels = (tmp_path / "new" / "labels" / "train" / "a.txt").read_text().splitlines()
    inside = "1 0.875000 0.900000 0.250000 0.200000"  # the hen's box reaches 20 pixels out of the photograph
    assert labels == [inside, "0 0.250000 0.250000 0.500000 0.500000"]
    assert (tmp_path / "new" / "labels" / "train" / "b.txt").read_text() == ""
    assert (tmp_path / "new" / "images" / "val" / "c.JPG").read_bytes() == b"c"


def test_folders_of_photographs_and_xml(tmp_path):
    for split in ("one", "two"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"{split}.xml").write_text(annotation(FOX))
        (tmp_path / split / f"{split}.png").write_bytes(b"")
    assert convert(tmp_path / "new", tmp_path / "one", tmp_path / "two").returncode == 0
    assert check_dataset(tmp_path / "new")["counts"]["val"] == {"images": 1, "boxes": 1}
    assert (tmp_path / "new" / "images" / "train" / "one.png").is_file()


def test_a_box_without_area_is_left_out_and_named(voc, tmp_path):
    annotations = voc[0].parents[2] / "Annotations"
    (annotations / "a.xml").write_text(annotation(FOX, ("hen", 50, 20, 50, 20), ("hen", 300, 0, 400, 9)))
    done = convert(tmp_path / "new", *voc)
    assert done.stdout.count("a.xml: a box without area is left out") == 2
    assert check_dataset(tmp_path / "new")["counts"]["train"]["boxes"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Annotations/a.xml", "<annotation>", "a.xml cannot be read: no element found"),
        ("Annotations/a.xml", "<annotation/>", "a.xml cannot be read: size/width is missing"),
        ("Annotations/a.xml", annotation(("hen", 1, 1, "far", 2)), "a.xml cannot be read: bndbox/xmax is far"),
        ("Annotations/a.xml", annotation(FOX, width=0), "a.xml cannot be read: float division by zero"),
        ("ImageSets/Main/val.txt", "e\n", "e.xml cannot be read: [Errno 2]"),
        ("ImageSets/Main/val.txt", "\n", "val.txt has no XML file"),
        ("ImageSets/Main/val.txt", None, "val.txt is not there"),
        ("JPEGImages/c.JPG", None, "JPEGImages has no photograph c, which "),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(voc, tmp_path, name, content, message):
    file = voc[0].parents[2] / name
    file.write_text(content) if content is not None else file.unlink()
    done = convert(tmp_path / "new", *voc)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_folder_that_exists_is_left_alone(voc, tmp_path):
    assert f"{tmp_path} exists already" in convert(tmp_path, *voc).stderr
