"""The model yamls in the modules that a host knows."""

import ast

import pytest
import yaml

from patches.errors import PatchError
from patches.install.checkout import Checkout
from patches.install.payload import HEADER, content_of, payload
from tests.conftest import MINIHOST

HOST = (MINIHOST / "models" / "yolo.py").read_text(encoding="utf-8")
KNOWN = '{"Conv": Conv, "SPPF": SPPF, "C3": C3}'
DETECT = "nc=80, anchors=(), ch=()"
M0 = "models/yolov5-efficientvit.yaml"


def rows(*replacements):
    """Return the rows of M0's yaml for an edited host, by module, and the notes."""
    source = HOST
    for old, new in replacements:
        assert old in source
        source = source.replace(old, new)
    ours = payload(Checkout(MINIHOST), ast.parse(source))
    config = yaml.safe_load(ours.files[M0]) if M0 in ours.files else {"backbone": [], "head": []}
    return {row[2]: row for row in config["backbone"] + config["head"]}, ours


def test_a_host_that_knows_everything_gets_the_files_as_they_are():
    found, ours = rows()
    assert found["SPPF"] == [-1, 1, "SPPF", [1024, 5]]
    assert ours.notes == []
    for name, content in ours.files.items():
        assert content.replace(HEADER, b"") == (MINIHOST.parents[1] / name).read_bytes()
        assert content.startswith(HEADER) == name.endswith(".py")


@pytest.mark.parametrize(
    ("edit", "row", "note"),
    [
        ((KNOWN, '{"Conv": Conv, "SPP": SPP, "C3": C3}'), [-1, 1, "SPP", [1024, [5, 9, 13]]], "there is no SPPF here"),
        ((KNOWN, KNOWN.replace("C3", "BottleneckCSP")), [-1, 3, "BottleneckCSP", [1024, False]], "there is no C3 here"),
        ((KNOWN, KNOWN.replace("C3", "BottleneckCSPA")), [-1, 3, "BottleneckCSPA", [1024, False]], "no C3 here"),
        ((DETECT, "nc=80, ch=()"), [[13, 16, 19], 1, "Detect", ["nc"]], "Detect takes no anchors here"),
    ],
    ids=["SPP", "BottleneckCSP", "BottleneckCSPA", "no anchors"],
)
def test_what_a_host_lacks_is_replaced(edit, row, note):
    edits = [edit] if "BottleneckCSP" not in edit[1] else [edit, ("kind is C3", "kind.__name__[0] == 'B'")]
    found, ours = rows(*edits)
    assert found[row[2]] == row
    assert len(ours.notes) == 1
    assert note in ours.notes[0]


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([(KNOWN, KNOWN.replace("SPPF", "ASPP"))], "parse_model knows neither SPPF nor SPP"),
        ([(KNOWN, KNOWN.replace("C3", "Own")), ("kind is C3", "1")], "knows neither C3 nor BottleneckCSP nor Bottlen"),
        ([(DETECT, "nc=80, anchors=(), nkpt=None, ch=()")], "its Detect takes nc, anchors, nkpt"),
        ([('config["backbone"]', 'config["trunk"] + config["backbone"]')], "parse_model wants trunk in a yaml"),
    ],
    ids=["SPPF", "C3", "Detect", "keys"],
)
def test_yamls_that_cannot_work_are_left_out(edits, reason):
    found, ours = rows(*edits)
    assert found == {}
    assert [name for name in ours.files if name.endswith(".yaml")] == []
    assert "models/backbone/efficientvit/network.py" in ours.files
    assert len(ours.notes) == 1
    assert reason in ours.notes[0]


def test_a_key_that_the_host_asks_for_is_not_needed():
    found, _ = rows(('config["backbone"]', '(config["trunk"] if "trunk" in config else []) + config["backbone"]'))
    assert found


@pytest.mark.parametrize(
    "edits", [[(KNOWN, "MODULES")], [("class Detect(", "class Other(")], [(DETECT, "*settings")]], ids=str
)
def test_what_cannot_be_told_is_taken_for_known(edits):
    found, ours = rows(*edits, *([("kind is C3", "1")] if edits[0][0] == KNOWN else []))
    assert {"SPPF", "C3", "Detect"} <= found.keys()
    assert ours.notes == []


def test_a_file_of_ours_that_cannot_be_read(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(
        PatchError, match=r"which is to be installed, cannot be read: Permission denied. Make it readable"
    ):
        content_of(MINIHOST / "train.py")
