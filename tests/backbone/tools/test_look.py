"""What a user can get wrong with `look`, and which files it writes."""

import errno
import os

import pytest
import torch
from torch import nn

from models.backbone.__main__ import main
from models.backbone.tools import look as command
from tests.backbone.efficientvit.test_network import build
from tests.backbone.looking.test_picture import TinyDetector, photo, save  # noqa: F401 - fixtures
from tests.patches.install.test_transaction import tree

cv2 = pytest.importorskip("cv2")
pytest.importorskip("matplotlib")


@pytest.fixture
def weights(save):  # noqa: F811
    return save(TinyDetector(build()))


@pytest.fixture
def picture(photo):  # noqa: F811
    return photo(40, 60)


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch):
    """Runs the command line in an empty folder and returns its message of one line; no file may have changed."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments, code=2):
        before = tree(tmp_path)
        assert main(["look", *map(str, arguments), "--img-size", "64"]) == code
        assert tree(tmp_path) == before
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("Not drawn: ")
        assert err.count("\n") == 1
        return err

    return run


def test_a_file_that_is_not_there(refused, weights, picture, tmp_path):
    assert "none.pt does not exist, seen from " in refused("none.pt", picture)
    assert "none.jpg does not exist, seen from " in refused(weights, "none.jpg")
    assert "is a folder; give a photograph" in refused(weights, tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff\xe0\0\x10JFIF", b"<svg/>", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image(refused, weights, tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    assert "a.jpg is no image that OpenCV reads; give a photograph, such as a .jpg or .png" in refused(
        weights, tmp_path / "a.jpg"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "best.pt is empty; fetch it again"), (b"PK", "is damaged"), (b"<html>", "is an HTML"), (b"x", "no checkp")],
)
def test_a_file_that_is_no_checkpoint(refused, picture, tmp_path, content, message):
    (tmp_path / "best.pt").write_bytes(content)
    assert message in refused(tmp_path / "best.pt", picture)


def test_a_checkpoint_without_a_model(refused, picture, tmp_path):
    for content in ({"model": None}, {"state_dict": build().state_dict()}, torch.rand(3), [1]):
        torch.save(content, tmp_path / "best.pt")
        assert "best.pt holds no whole YOLOv5 model; give a best.pt or last.pt" in refused(
            tmp_path / "best.pt", picture
        )


def test_a_checkpoint_of_classes_that_are_not_here(refused, save, picture, monkeypatch):  # noqa: F811
    gone = type("Gone", (nn.Module,), {"__module__": __name__})
    monkeypatch.setitem(globals(), "Gone", gone)
    path = save(gone())
    monkeypatch.delitem(globals(), "Gone")
    message = refused(path, picture)
    assert "best.pt cannot be opened (AttributeError: " in message
    assert "; run this in the patched checkout that it was trained in" in message


def test_a_stock_detector_a_classifier_and_other_channels(refused, save, picture):  # noqa: F811
    assert "best.pt has no backbone of this project in it; give a detector that was trained with one" in refused(
        save(nn.Sequential(nn.Conv2d(3, 8, 3))), picture
    )
    assert "takes images of 1 channels, and a photograph has 3" in refused(save(GreyDetector(build())), picture)
    assert "best.pt is a classifier" in refused(save(ClassificationModel(build())), picture)


class GreyDetector(TinyDetector):
    yaml = {"ch": 1}  # noqa: RUF012


class ClassificationModel(TinyDetector):
    pass


@pytest.mark.parametrize("cell", [(60, 0), (0, 40), (-1, 0), (0, -1), (10**30, 0)])
def test_a_cell_outside_the_photograph(refused, weights, picture, cell):
    message = refused(weights, picture, "--cell", *cell)
    assert f"--cell {cell[0]} {cell[1]} lies outside" in message
    assert "which has 60 x 40 pixels; give x from 0 to 59 and y from 0 to 39" in message


@pytest.mark.parametrize("stage", [0, 4, -1])
def test_a_stage_that_is_not_there(refused, weights, picture, stage):
    assert f"--stage {stage}: the backbone is EfficientViT_M0, and its stages are 1 to 3" in refused(
        weights, picture, "--stage", stage
    )


def test_an_output_that_cannot_be_written(refused, weights, picture, tmp_path):
    (tmp_path / "mine.png").write_text("mine")
    for name, message in (
        ("mine.png", "mine.png exists already; name another file to write"),
        ("none/new.png", "none is no folder; make it first"),
        ("new", "new has no suffix of a picture; name it .png, or one of "),
        ("new.pt", "new.pt has no suffix of a picture"),
        (picture, "exists already"),
    ):
        assert message in refused(weights, picture, "--output", tmp_path / name)


def test_a_full_disk_and_a_bug(refused, weights, picture, monkeypatch):
    for error, message, code in (
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "photo-look.png cannot be written (No space left", 1),
        (KeyError("x"), "KeyError: 'x'. This is a bug in look; please report it.", 1),
        (KeyboardInterrupt(), "interrupted", 130),
    ):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(command, "look", fail)
        assert message in refused(weights, picture, code=code)


def test_the_picture_lies_in_this_folder_and_replaces_none(weights, picture, tmp_path, capsys, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("photo-look.png", "photo-look-2.png", "photo-look-3.png"):
        assert main(["look", str(weights), str(picture), "--img-size", "64", "--cell", "59", "39"]) == 0
        assert capsys.readouterr().out == f"{name}: the maps of EfficientViT_M0, and the attention of pixel 59, 39\n"
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        *("photo-look-2.png", "photo-look-3.png", "photo-look.png")
    ]
    drawn = cv2.imread("photo-look.png")
    assert drawn.shape[1] > 1000
    assert drawn.std() > 10


@pytest.mark.parametrize("name", ["a.PNG", "a.jpg", "a.pdf", "a.svg"])
def test_other_formats(weights, picture, tmp_path, capsys, name):
    at = tmp_path / name
    assert main(["look", str(weights), str(picture), "--img-size", "64", "--output", str(at)]) == 0
    assert capsys.readouterr().out.startswith(f"{at}: the maps of EfficientViT_M0, and the attention of pixel ")
    beginnings = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert at.read_bytes().startswith(beginnings[at.suffix.lower()])
