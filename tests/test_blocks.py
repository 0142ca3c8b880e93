"""Blocks between markers, and the proof before anything is written that they can be taken out again."""

import pytest

from patches.blocks import Block, find_blocks, insert_blocks, remove_blocks
from patches.edits import Edit
from patches.errors import PatchError
from patches.rewrite import apply, require_sound

SOURCE = "first\nsecond\r\nthird"


def test_blocks_stand_before_their_lines_with_their_line_ends():
    blocks = [Block(2, "    ", "late", ["a", "b"]), Block(1, "", "early", ["c"])]
    patched = insert_blocks(SOURCE, blocks)
    found = find_blocks(patched, "file")
    assert [(block.name, block.line) for block in found] == [("early", 2), ("late", 6)]
    assert patched == f"first\n{found[0].text}second\r\n{found[1].text}third"
    assert [line[:5] for line in found[1].text.split("\n")] == ["    #", "    a", "    b", "    #", ""]
    assert found[0].text.count("\r\n") == 3
    assert remove_blocks(patched, "file") == SOURCE


def test_a_result_that_can_be_taken_back_is_sound():
    require_sound(insert_blocks("x = 1\n", [Block(0, "", "name", ["y = 2"])]), "x = 1\n", "yolo.py")


@pytest.mark.parametrize(
    "patched",
    [
        insert_blocks("x = 1\n", [Block(0, "", "name", ["return"])]),
        "y = 2\nx = 1\n",
        "# >>> yolov5-efficientvit 0: name\nx = 1\n",
    ],
    ids=["does not compile", "is not taken back", "has half a block"],
)
def test_an_unsound_result_is_refused(patched):
    with pytest.raises(PatchError, match=r"yolo.py: the lines would not fit in here.*Please report this"):
        require_sound(patched, "x = 1\n", "yolo.py")


def test_an_original_that_does_not_compile_is_told_as_that():
    with pytest.raises(PatchError, match="'return' outside function"):
        require_sound("return\n", "return\n", "yolo.py")


def test_the_patch_is_given_out_only_if_it_is_sound():
    careless = Edit("yolo.py", lambda tree, lines: [Block(0, "", "name", ["return"])])
    with pytest.raises(PatchError, match="the lines would not fit in here"):
        apply("x = 1\n", "yolo.py", careless)
