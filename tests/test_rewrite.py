"""The rewriter on the text of a miniature host, in many dresses."""

import ast
from pathlib import Path

import pytest

from patches.blocks import remove_blocks, split_lines
from patches.errors import PatchError
from patches.rewrite import apply, revert

MINI = (Path(__file__).parent / "minihost" / "models" / "yolo.py").read_text(encoding="utf-8")


def edited(*replacements):
    text = MINI
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


VALUE_LINE = "            value = layer(value)\n"
KEEP_LINE = "            results.append(value if layer.i in self.kept else None)\n"
LOOP = 'for number, (source, repeats, kind, options) in enumerate(config["backbone"] + config["head"]):'

DRESSES = {
    "as it is": MINI,
    "crlf": MINI.replace("\n", "\r\n"),
    "cr": MINI.replace("\n", "\r"),
    "tabs": MINI.replace("    ", "\t"),
    "no final newline": MINI.rstrip("\n"),
    "form feed between functions": MINI.replace("\n\ndef parse", "\n\x0c\ndef parse"),
    "line separator in a string": edited(('"layers"', '"lay\u2028ers"')),
    "pip package": MINI.replace("from models.", "from yolov5.models."),
    "relative": MINI.replace("from models.", "from ."),
    "another iterable": edited((LOOP, LOOP.replace('config["backbone"] + config["head"]', "config"))),
    "print instead of a logger": MINI.replace("TABLE.info", "print"),
    "comments everywhere": MINI.replace("\n        for ", "  # before\n        # above\n        for "),
    "continued lines": edited(
        ("from models.common import Concat, Conv", "from models.common import (\n    Conv,\n    Concat,\n)")
    ),
    "no fuse": edited(("def fuse(", "def melt(")),
    "two forwards": edited(
        ("class Net(", MINI[MINI.index("class Net(") : MINI.index("def parse")].replace("Net", "A") + "class Net(")
    ),
}


@pytest.mark.parametrize("source", DRESSES.values(), ids=DRESSES)
def test_applies_and_reverts_exactly(source):
    patched = apply(source)
    assert patched != source
    ast.parse(patched)
    assert revert(patched) == source
    assert apply(patched) == patched


@pytest.mark.parametrize("source", DRESSES.values(), ids=DRESSES)
def test_only_inserts(source):
    remaining = iter(split_lines(apply(source)))
    assert all(line in remaining for line in split_lines(source)), "the host's lines, all of them, in their order"


@pytest.mark.parametrize("source", DRESSES.values(), ids=DRESSES)
def test_line_ends_are_those_of_the_file(source):
    def ends(text):
        return {line[len(line.rstrip("\r\n")) :] for line in split_lines(text)}

    assert ends(apply(source)) == ends(source)


def test_reverting_what_is_not_patched_changes_nothing():
    assert revert(MINI) == MINI


def test_what_is_inserted():
    inserted = [line for line in split_lines(apply(MINI)) if line not in split_lines(MINI)]
    code = [line.strip() for line in inserted if not line.strip().startswith("#")]
    assert code == [
        "from models.backbone import host as backbone_host",
        "if isinstance(layer, backbone_host.Backbone):",
        "value = backbone_host.unpack_maps(layer, value, results, self.kept)",
        "backbone_host.fuse_backbones(self.model)",
        "backbone_rows = backbone_host.BackboneRows(TABLE.info)",
        "number = backbone_rows.layer_index(number, source, kind)",
        "if backbone_rows.is_backbone(kind):",
        "widths = backbone_rows.build(number, source, repeats, kind, options, widths, wanted, built)",
        "continue",
    ]


def test_every_forward_and_fuse_is_patched():
    patched = apply(DRESSES["two forwards"])
    assert patched.count("unpack_maps") == patched.count("fuse_backbones") == 2


@pytest.mark.parametrize("old", ["0.0.9", "7.1.0"])
def test_another_version_is_replaced_in_place(old):
    patched = apply(MINI)
    version = patched.split("yolov5-efficientvit ")[1].split(":")[0]
    assert apply(patched.replace(f" {version}:", f" {old}:")) == patched


REFUSED = {
    "not python": ("def (:", "yolo.py, line 1: this is not valid Python"),
    "null byte": (MINI + "\0", "this is not valid Python"),
    "conflict markers": (edited((VALUE_LINE, "<<<<<<< HEAD\n" + VALUE_LINE)), "this is not valid Python"),
    "empty": ("", "found no forward"),
    "no import": (edited(("from models.common import", "from common import")), "no top-level import from models.common"),
    "no parse_model": (edited(("def parse_model(config", "def parse(config")), "no function parse_model"),
    "no row loop": (edited((LOOP, LOOP.replace("(source, repeats, kind, options)", "row"))), "found no loop over"),
    "before v5.0": (edited(("        if number == 0:\n            widths = []\n", "")), "it came with v5.0"),
    "another return": (edited(("return nn.Sequential(*built), sorted(wanted)", "return built")), "'return nn.Sequential"),
    "no forward": (edited(("value = layer(value)", "value = self.run(layer, value)")), "found no forward"),
    "outputs kept otherwise": (edited((KEEP_LINE, "            results.append(value)\n")), "found no forward"),
    "hand-made patch": (edited(("        results = []\n", "        is_backbone = False\n        results = []\n")), "line 18: is_backbone"),
    "hand-made patch, other hand": (edited((KEEP_LINE, KEEP_LINE + "            hasattr(layer, 'backbone')\n")), "belongs to a hand-made patch"),
    "names taken": (edited(("TABLE = ", "backbone_host = TABLE = ")), "uses the name backbone_host already"),
    "shared line": (edited((VALUE_LINE, "            value = layer(value); pass\n")), "shares its line with another"),
    "shared line, in front": (edited((VALUE_LINE, "            pass; value = layer(value)\n")), "shares its line with another"),
    "end marker gone": (apply(MINI).replace("# <<< yolov5-efficientvit", "#", 1), "has lost its partner"),
    "begin marker gone": (apply(MINI).replace("# >>> yolov5-efficientvit", "#", 1), "line 10: this yolov5-efficientvit marker"),
    "last end marker gone": (apply(MINI)[: apply(MINI).rindex("# <<<")], "has lost its partner"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_and_says_why(source, message):
    with pytest.raises(PatchError, match=message):
        apply(source, "yolo.py")


def test_text_between_markers_of_another_tool_stays():
    source = "# >>> conda initialize >>>\nx = 1\n# <<< conda initialize <<<\n"
    assert remove_blocks(source, "yolo.py") == source
