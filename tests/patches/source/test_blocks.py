"""Blocks between markers, and the proof before anything is written that they can be taken out again."""

import pytest

from patches.errors import PatchError
from patches.source.blocks import Block, insert_blocks
from patches.source.edits import Edit
from patches.source.removal import remove
from patches.source.rewrite import Rewrite, apply, require_sound

SOURCE = "first\nsecond\r\nthird"
UNFIT = "x = 1\n", [Block(0, "", "name", ["y = 2"])]


def test_blocks_stand_before_their_lines_with_their_line_ends():
    blocks = [Block(2, "    ", "late", ["if a:", "    b"]), Block(1, "", "early", ["c"])]
    patched = insert_blocks(SOURCE, blocks)
    lines = patched.splitlines(keepends=True)
    assert [line.rstrip().rpartition(" ")[2] for line in lines] == [
        *("first", "early", "c", "yolov5-efficientvit", "second"),
        *("late", "a:", "b", "yolov5-efficientvit", "third"),
    ]
    assert [line[:5] for line in lines[5:9]] == ["    #", "    i", "     ", "    #"]
    assert [line.endswith("\r\n") for line in lines[1:5]] == [True] * 4
    assert [line.endswith("\r\n") for line in lines[5:9]] == [False] * 4
    statements = [statement for block in blocks for statement in block.statements()]
    assert statements == ["if a:\n    b", "c"]
    assert remove(patched, statements).own == SOURCE


def test_a_result_that_can_be_taken_back_is_sound():
    require_sound(Rewrite(UNFIT[0], insert_blocks(*UNFIT), UNFIT[1]), "yolo.py")


@pytest.mark.parametrize(
    "patched",
    [insert_blocks("x = 1\n", [Block(0, "", "name", ["return"])]), "z = 2\nx = 1\n"],
    ids=["does not compile", "is not taken back"],
)
def test_an_unsound_result_is_refused(patched):
    with pytest.raises(PatchError, match=r"yolo.py: the lines would not fit in here.*please report it"):
        require_sound(Rewrite("x = 1\n", patched, UNFIT[1]), "yolo.py")


def test_an_original_that_does_not_compile_is_told_as_that():
    with pytest.raises(PatchError, match="'return' outside function"):
        require_sound(Rewrite("return\n", "return\n", []), "yolo.py")


def test_the_patch_is_given_out_only_if_it_is_sound():
    careless = Edit("yolo.py", lambda tree, lines: [Block(0, "", "name", ["return"])])
    with pytest.raises(PatchError, match="the lines would not fit in here"):
        apply("x = 1\n", "yolo.py", careless)
