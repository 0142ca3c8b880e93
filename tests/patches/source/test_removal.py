"""Inserted lines come out wherever they stand, and a line of the user's never does."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patches.errors import PatchError
from patches.install.record import NAME as RECORD
from patches.source.blocks import BEGIN, END
from patches.source.removal import remove
from patches.source.rewrite import apply, revert, rewrite, stock_of
from tests.examples import examples
from tests.patches.source.test_rewrite import MINI

PATCHED = apply(MINI)
STATEMENTS = rewrite(MINI).statements()
CALL = "            widths = backbone_rows.build(number, source, repeats, kind, options, widths, wanted, built)\n"
WRAPPED = """\
            widths = (
                backbone_rows
                .build(
                    number, source, repeats, kind,

                    options, widths, wanted, built,
                )  # noqa: E501
            )
"""
IMPORT = "from models.backbone import yolo as backbone_host\n"
SORTED = "from models.backbone import (\n    yolo as backbone_host,  # isort: skip\n)\n"
YOLO = "models/yolo.py"


def changed(old, new):
    assert PATCHED.count(old) >= 1
    return PATCHED.replace(old, new, 1)


FORMATTED = {
    "a wrapped call": changed(CALL, WRAPPED),
    "a wrapped import": changed(IMPORT, SORTED),
    "blank lines": re.sub(r"(# >>> .*\n)", r"\1\n", PATCHED).replace(IMPORT, IMPORT + "\n\n"),
    "a backslash": changed("widths = backbone_rows.build(", "widths = \\\n                backbone_rows.build("),
    "a comment for a tool": changed(IMPORT, IMPORT.rstrip() + "  # noqa: E402\n"),
    "Windows line ends": PATCHED.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("text", FORMATTED.values(), ids=FORMATTED)
def test_formatting_is_no_edit(text):
    assert apply(text) == text
    stock = revert(text)
    assert "backbone_" not in stock
    assert "efficientvit" not in stock
    assert stock.splitlines() == MINI.splitlines()


def test_what_an_import_sorter_moves_is_found():
    lines = PATCHED.splitlines(keepends=True)
    begin = next(number for number, line in enumerate(lines) if BEGIN.match(line))
    ours = lines[begin : begin + 2]
    del lines[begin : begin + 2]  # the end marker stays behind
    first = next(number for number, line in enumerate(lines) if line.startswith("import "))
    lines[first:first] = ours
    text = "".join(lines)
    assert apply(text) == text
    assert revert(text) == MINI


MARKERS = [number for number, line in enumerate(PATCHED.split("\n")) if BEGIN.match(line) or END.match(line)]


@examples(100)
@given(st.sets(st.sampled_from(MARKERS)))
def test_markers_that_were_removed_by_hand_do_not_matter(gone):
    text = "\n".join(line for number, line in enumerate(PATCHED.split("\n")) if number not in gone)
    assert revert(text) == MINI
    assert apply(text) == PATCHED


@examples(100)
@given(st.integers(0, PATCHED.count("\n")), st.sampled_from(["# mine", "mine = 1", "pass", "", "    "]))
def test_a_line_of_the_user_stays_or_is_refused(place, line):
    lines = PATCHED.split("\n")
    following = next((text for text in lines[place:] if text.strip()), "")
    indent = following[: len(following) - len(following.lstrip())]
    lines.insert(place, indent + line)
    text = "\n".join(lines)
    removal = remove(text, STATEMENTS)
    for left in (removal.own, removal.without_edited):
        assert left.split("\n").count(indent + line) == MINI.split("\n").count(indent + line) + 1 or not line.strip()
    if not removal.edited:
        assert removal.own.replace(indent + line, "").split() == MINI.replace(indent + line, "").split()


def test_an_edited_statement_is_shown_and_dropped_only_by_force():
    text = changed("if backbone_rows.is_backbone(kind):", "if backbone_rows.is_backbone(kind) and mine:")
    with pytest.raises(PatchError, match=r"if backbone_rows.is_backbone\(kind\) and mine:\n  .*, line \d+: widths"):
        revert(text)
    stock, lost = stock_of(text, YOLO, force=True)
    assert stock == MINI
    assert [line.text.strip().split(" ")[0] for line in lost] == ["if", "widths", "continue"]


def test_an_edited_statement_is_dropped_with_the_lines_it_is_wrapped_over():
    text = changed(CALL, WRAPPED.replace("options", "options or mine"))
    assert stock_of(text, YOLO, force=True)[0] == MINI


def test_a_line_inside_an_edited_statement_is_not_dropped_by_force():
    text = changed(CALL, "            mine = 1\n" + CALL)
    for force in (False, True):
        with pytest.raises(PatchError, match=r"is_backbone\(kind\):"):
            stock_of(text, YOLO, force=force)


def test_a_statement_of_the_user_between_the_markers_is_kept():
    text = changed(IMPORT, "import mine\n" + IMPORT)
    assert revert(text) == MINI.replace("from models.common", "import mine\nfrom models.common", 1)
    assert "import mine" in apply(text)


@pytest.mark.parametrize("force", [False, True])
def test_a_use_of_our_names_elsewhere_is_the_users(force):
    text = changed("TABLE = ", "print(backbone_host)\nTABLE = ")
    with pytest.raises(PatchError, match=r"line 14: print\(backbone_host\)\nuses a name of the patch"):
        stock_of(text, YOLO, force=force)


def test_lines_of_an_old_version_are_known_from_the_record():
    old = [statement.replace("BackboneRows", "OldRows") for statement in STATEMENTS]
    text = PATCHED.replace("BackboneRows", "OldRows")
    assert revert(text, known=old) == MINI
    assert apply(text, known=old) == PATCHED
    with pytest.raises(PatchError, match=r"backbone_rows = backbone_host.OldRows"):
        revert(text)


def test_a_file_that_is_not_python_any_more_is_reverted_by_the_record():
    broken = PATCHED + "def (:\n"
    assert revert(broken, known=STATEMENTS) == MINI + "def (:\n"


def test_of_two_versions_of_a_statement_the_longer_is_taken_out():
    (row,) = (statement for statement in STATEMENTS if "is_backbone" in statement)
    older = row.rpartition("\n")[0]
    assert revert(PATCHED, known=[older, *STATEMENTS]) == MINI


def test_a_record_cannot_make_lines_of_the_user_ours(checkout, run):
    run()
    path = checkout / RECORD
    fields = json.loads(path.read_text())
    fields["lines"][YOLO].append("import torch")
    path.write_text(json.dumps(fields))
    code, _, message = run("--revert")
    assert (code, "the record of what was installed, is damaged" in message) == (2, True)


def test_a_statement_is_taken_out_as_often_as_it_stands_there():
    forward = PATCHED[PATCHED.index("    def forward(self, value)") : PATCHED.index("    def fuse(")]
    doubled = f"{PATCHED}\n\nclass Copy:\n{forward}"
    assert not rewrite(MINI).matches_up_to_formatting(doubled)
    assert remove(doubled, STATEMENTS).own.count("backbone_host") == 0
