"""Lines of the user's next to ours, inside them, and like them: they stay, or are named and refused."""

import json
import os
import re
import subprocess
import sys

import pytest

import apply_patch
from patches.errors import PatchError
from patches.install.record import NAME as RECORD
from patches.source.rewrite import apply, revert, rewrite, stock_of
from tests.patches.install.test_transaction import tree
from tests.patches.source.test_removal import IMPORT, PATCHED, changed
from tests.patches.source.test_rewrite import MINI

FUSE = "        backbone_host.fuse_backbones(self.model)\n"
MAPS = next(line for line in PATCHED.splitlines(keepends=True) if "unpack_maps(" in line)
INDENT = MAPS[: len(MAPS) - len(MAPS.lstrip())]
DEPENDING = {  # lines of the user's that mean nothing, or something else, without ours
    "one more line in our if": changed(MAPS, f"{MAPS}{INDENT}mine = 1\n"),
    "an else to our if": changed(MAPS, f"{MAPS}{INDENT[:-4]}else:\n{INDENT}mine = 1\n"),
    "our line alone under an if": changed(FUSE, f"        if self.mine:\n    {FUSE}"),
    "our line alone under a try": changed(FUSE, f"        try:\n    {FUSE}        finally:\n            mine = 1\n"),
}
EDITED = {
    "one more argument, a line each": changed(
        FUSE, "        backbone_host.fuse_backbones(\n            self.model,\n            None,\n        )\n"
    ),
    "a continued line": changed(FUSE, FUSE.rstrip() + " \\\n            or print(1)\n"),
    "words behind a comment for a tool": changed(FUSE, FUSE.rstrip() + "  # noqa: E501 - why this is here\n"),
    "two statements on a line": changed(FUSE, FUSE.rstrip() + "; mine = 1\n"),
}


@pytest.mark.parametrize("text", DEPENDING.values(), ids=DEPENDING)
def test_a_file_that_is_valid_python_stays_so(text):
    compile(text, "", "exec")
    for take_out in (revert, apply, lambda text: stock_of(text, force=True)):
        with pytest.raises(PatchError, match="because lines of your own depend on them:\n  line ") as caught:
            take_out(text)
        assert caught.value.kind == "own lines inside inserted ones"
        assert "not valid Python 3" not in str(caught.value)


@pytest.mark.parametrize("text", EDITED.values(), ids=EDITED)
def test_a_line_that_holds_more_than_ours_is_an_edited_one(text):
    compile(text, "", "exec")
    with pytest.raises(PatchError, match=r"are not as .* inserted them.*:\n  .*fuse_backbones"):
        revert(text)


COPIED = {  # a copy of ours, and what stands around it
    "in a function": ("\n\ndef run(m, x, y):\n", MAPS.replace(INDENT, "    ", 1), "    return x\n"),
    "in a list": ("\n\nHOOKS = [\n", FUSE, "]\n"),
}


@pytest.mark.parametrize(("before", "copy", "after"), COPIED.values(), ids=COPIED)
def test_a_copy_of_our_line_is_the_users(before, copy, after):
    text = PATCHED + before + copy + after
    compile(text, "", "exec")
    for force in (False, True):
        with pytest.raises(PatchError, match=f"line .*: {re.escape(copy.strip())}\nuses a name of the patch"):
            stock_of(text, force=force)


@pytest.mark.parametrize("line", [FUSE, "# <<< yolov5-efficientvit\n", IMPORT], ids=["call", "marker", "import"])
def test_nothing_is_taken_out_of_a_string(line):
    text = f'HELP = """\n{line}"""\n'
    patched = apply(MINI + text)
    assert patched == PATCHED + text
    assert apply(patched) == patched
    assert revert(patched) == MINI + text


def test_a_comment_may_name_what_is_ours():
    comment = "# backbone_host: lines of the patch, backbone_rows as well\n"
    patched = apply(comment + MINI)
    assert patched == comment + PATCHED
    assert revert(patched) == comment + MINI


def test_a_bracket_in_a_comment_does_not_make_the_next_line_ours():
    text = changed(FUSE, "        backbone_host.fuse_backbones(self.model, 1)  # why :(\n        self.mine = 1\n")
    stock, lost = stock_of(text, force=True)
    assert "        self.mine = 1\n" in stock
    assert [line.text for line in lost] == ["        backbone_host.fuse_backbones(self.model, 1)  # why :(\n"]


JOINED = {  # how an import sorter joins our import with one of the user's, and what is his
    "before": ("from models.backbone import weights, yolo as backbone_host\n", "from models.backbone import weights\n"),
    "behind": ("from models.backbone import yolo as backbone_host, zoo\n", "from models.backbone import zoo\n"),
    "in brackets": (
        "from models.backbone import (yolo as backbone_host, zoo)\n",
        "from models.backbone import (zoo)\n",
    ),
    "one a line": (
        "from models.backbone import (\n    weights,\n    yolo as backbone_host,\n    zoo,\n)\n",
        "from models.backbone import (\n    weights,\n    zoo,\n)\n",
    ),
    "the last, a line each": (
        "from models.backbone import (\n    weights,\n    yolo as backbone_host\n)\n",
        "from models.backbone import (\n    weights,\n)\n",
    ),
}


@pytest.mark.parametrize(("joined", "own"), JOINED.values(), ids=JOINED)
def test_an_import_that_a_sorter_has_joined_with_ours(joined, own):
    text = changed(IMPORT, joined)
    expected = MINI.replace("from models.common", f"{own}from models.common", 1)
    assert revert(text) == expected
    assert apply(text) == text, "it is patched"
    assert stock_of(text, force=True) == (expected, [])


CHANGED = {  # edits that change what our lines do, and not their words
    "less indentation": re.sub(r"\n    ( +)continue\n", r"\n\1continue\n", PATCHED, count=1),
    "more brackets": changed("fuse_backbones(self.model)", "fuse_backbones(self.model())"),
}


@pytest.mark.parametrize("text", CHANGED.values(), ids=CHANGED)
def test_the_same_words_with_another_meaning_are_not_up_to_date(text):
    assert text != PATCHED
    compile(text, "", "exec")
    assert not rewrite(MINI).matches_up_to_formatting(text)


def test_a_comment_that_a_formatter_moves_over_ours_is_no_edit():
    """autopep8 puts a long comment at the end of a line above it."""
    line = next(line for line in MINI.splitlines() if line in PATCHED and line.strip().startswith("for number, "))
    indent = line[: len(line) - len(line.lstrip())]
    moved = PATCHED.replace(line, f"{indent}# of the host\n{line}", 1)  # between our block and the loop
    assert rewrite(revert(moved)).patched != moved, "we would put our block behind the comment"
    assert apply(moved) == moved


def test_tabs_are_no_edit(checkout, run):
    run()
    yolo = checkout / "models/yolo.py"
    yolo.write_bytes(yolo.read_bytes().replace(b"    ", b"\t"))
    assert run("--check")[0] == 0


def test_the_edited_lines_of_all_files_are_shown_before_force_drops_them(checkout, run):
    run()
    for name in ("train.py", "models/yolo.py"):
        path = checkout / name
        path.write_text(re.sub(r"(?m)^( +backbone_host\.\w+)\(", r"\1(None, ", path.read_text()))
    before = tree(checkout)
    for mode in ([], ["--check"], ["--revert"]):
        code, out, _ = run(*mode, "--json")
        error = json.loads(out)["error"]
        assert code == 2
        assert sorted(error["files"]) == [str(checkout / name) for name in ("models/yolo.py", "train.py")]
        assert tree(checkout) == before
    shown = re.findall(r"line \d+: .*", error["message"])
    lost = json.loads(run("--force", "--json")[1])["lost"]
    assert sorted(re.findall(r"line \d+: .*", "\n".join(lost))) == sorted(shown)


@pytest.mark.parametrize(
    ("change", "is_original"),
    [
        (lambda root: None, True),
        (lambda root: (root / "README.md").write_text("mine"), True),
        (lambda root: (root / "train.py").write_bytes(b"# mine\n" + (root / "train.py").read_bytes()), False),
        (lambda root: (root / "train.py").unlink(), False),
        (lambda root: (root / RECORD).unlink(), False),
    ],
    ids=["nothing", "another file", "a line of the user's", "a deleted file", "no record"],
)
def test_as_it_was_before_is_said_where_it_is_known(checkout, run, change, is_original):
    run()
    change(checkout)
    code, _, message = run("--revert")
    assert code == 0
    assert ("as it was before the patch" in message) == is_original
    assert ("is without the patch; your own changes stay" in message) != is_original


def test_an_old_python_prints_json_too():
    code = "import sys; sys.version_info = (3, 7); sys.argv = ['apply_patch.py', '.', '--json']; import patches"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=os.path.dirname(apply_patch.__file__), capture_output=True, text=True
    )
    assert done.returncode == 2
    seen = json.loads(done.stdout)
    assert (seen["exit_code"], seen["error"]["kind"]) == (2, "old Python")
    assert seen["error"]["message"] in done.stderr
