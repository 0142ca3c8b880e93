"""Files of the host that are links to each other: one real file is patched once, and comes back."""

import os
import shutil

import pytest

from patches import __version__
from tests.conftest import MINIHOST
from tests.patches.install.test_transaction import tree

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs links")
MARKER = b">>> yolov5-efficientvit "
LINKS = [  # a name, what it is a link to, and which of the two is told to be the file
    ("segment/train.py", "../train.py", "train.py"),
    ("classify/train.py", "../train.py", "train.py"),
    ("segment/train.py", "../models/yolo.py", "models/yolo.py"),
    ("models/tf.py", "yolo.py", "models/yolo.py"),
    ("segment", ".", "train.py"),
]


def link(path, target):
    if path.is_file():
        path.unlink()
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)


def links_of(root):
    return {path.relative_to(root).as_posix(): os.readlink(path) for path in root.rglob("*") if path.is_symlink()}


def round_trip(checkout, run):
    """Apply, check, apply again and revert; return what applying said, and the patched files."""
    original, links = tree(checkout), links_of(checkout)
    assert run("--diff")[0] == 0
    code, _, message = run()
    assert code == 0, message
    patched = tree(checkout)
    assert links_of(checkout) == links
    assert run("--check")[0] == 0
    assert "nothing to do" in run()[2]
    assert run("--revert")[0] == 0
    assert tree(checkout) == original
    assert links_of(checkout) == links
    return message, patched


@pytest.mark.parametrize(("name", "target", "file"), LINKS, ids=[f"{name} to {target}" for name, target, _ in LINKS])
def test_a_link_to_another_file_that_is_patched(checkout, run, name, target, file):
    link(checkout / name, target)
    message, patched = round_trip(checkout, run)
    name = name if name.endswith(".py") else f"{name}/train.py"
    assert f"Note: {name} is a link to {file}, which is patched" in message
    assert patched[file][0].count(MARKER + f"{__version__}: import".encode()) == 1


def test_the_main_file_that_is_a_link(checkout, run):
    """models/yolo.py must be patched, whatever else leads to its file."""
    (checkout / "models/yolo.py").replace(checkout / "models/tf.py")
    link(checkout / "models/yolo.py", "tf.py")
    message, patched = round_trip(checkout, run)
    assert "Note: models/tf.py is a link to models/yolo.py, which is patched" in message
    assert b": rows" in patched["models/tf.py"][0]


@pytest.mark.parametrize("target", ["../models/other.py", "../nowhere.py", "train.py", "../tools/train.py"])
def test_a_link_to_a_file_that_is_not_patched_otherwise(checkout, run, target):
    (checkout / "tools").mkdir()
    shutil.copy(checkout / "train.py", checkout / "tools/train.py")
    link(checkout / "segment/train.py", target)
    message, patched = round_trip(checkout, run)
    assert "which is patched" not in message
    assert (MARKER in patched["tools/train.py"][0]) == (target == "../tools/train.py")


def test_two_links_to_one_file(checkout, run):
    """Neither is the file: the first is patched."""
    (checkout / "tools").mkdir()
    (checkout / "train.py").replace(checkout / "tools/train.py")
    link(checkout / "train.py", "tools/train.py")
    link(checkout / "segment/train.py", "../tools/train.py")
    message, patched = round_trip(checkout, run)
    assert "Note: segment/train.py is a link to train.py, which is patched" in message
    assert MARKER in patched["tools/train.py"][0]


def test_a_file_with_two_names(checkout, run):
    """A hard link: each name gets a file of its own, and its lines."""
    (checkout / "segment").mkdir()
    os.link(checkout / "train.py", checkout / "segment/train.py")
    message, patched = round_trip(checkout, run)
    assert "is a link" not in message
    assert patched["train.py"] == patched["segment/train.py"]
    assert MARKER in patched["train.py"][0]


def test_a_link_that_is_made_after_the_patch(checkout, run):
    (checkout / "segment").mkdir()
    shutil.copy(checkout / "train.py", checkout / "segment/train.py")
    run()
    link(checkout / "segment/train.py", "../train.py")
    assert run()[0] == 0
    assert run("--check")[0] == 0
    assert run("--revert")[0] == 0
    assert (checkout / "train.py").read_bytes() == (MINIHOST / "train.py").read_bytes()
