"""Turns the text of a YOLOv5 models/yolo.py into the patched text and back; only ever inserts whole lines."""

from __future__ import annotations

import ast
from typing import Callable

from .anchors import Anchors, find_anchors, models_package
from .blocks import Block, insert_blocks, remove_blocks, split_lines
from .errors import PatchError

Rewriter = Callable[[str, str], str]

HOST = "backbone_host"  # our module's name in the host's file
ROWS = "backbone_rows"  # our variable in parse_model


def apply(source: str, filename: str = "models/yolo.py") -> str:
    """Return the patched source; of a patched source, the source patched anew by this version.

    Raises:
        PatchError: the file does not parse, an anchor is missing, or the result would not be right.
    """
    original = revert(source, filename)
    if HOST in original or ROWS in original:
        raise PatchError(
            f"{filename} uses the name {HOST if HOST in original else ROWS} already, which the patch needs. "
            "Rename it, or restore the file from its release, and run this again."
        )
    anchors = find_anchors(original, filename)
    patched = insert_blocks(original, blocks_for(anchors, original, filename))
    ast.parse(patched)
    assert revert(patched, filename) == original, "taking the blocks out must give the original back"
    return patched


def revert(source: str, filename: str = "models/yolo.py") -> str:
    """Return the source without the patch, exactly as it was before.

    Raises:
        PatchError: a marker lacks its partner.
    """
    return remove_blocks(source, filename)


def blocks_for(anchors: Anchors, source: str, filename: str) -> list[Block]:
    """Word the insertions for one file, in the names it uses."""
    lines = Lines(source, filename)
    parse = anchors.parse_loop
    source_name, _, module, _ = parse.row
    outer, inner = lines.indent(parse.loop), lines.indent(parse.loop.body[0])
    step = inner[len(outer) :]
    build_args = [parse.index, *parse.row, parse.channels, parse.save, parse.layers]
    package = models_package(anchors.models_import)
    assert package
    dot = "" if package == "." else "."

    blocks = [
        Block(lines.after(anchors.models_import), "", "import", [f"from {package}{dot}backbone import host as {HOST}"]),
        Block(lines.before(parse.loop), outer, "rows", [f"{ROWS} = {HOST}.BackboneRows({parse.log})"]),
        Block(
            lines.before(parse.loop.body[0]),
            inner,
            "row",
            [
                f"{parse.index} = {ROWS}.layer_index({parse.index}, {source_name}, {module})",
                f"if {ROWS}.is_backbone({module}):",
                f"{step}{parse.channels} = {ROWS}.build({', '.join(build_args)})",
                f"{step}continue",
            ],
        ),
    ]
    for forward in anchors.forwards:
        run, layer, value = forward.run, forward.layer, forward.value
        body = [
            f"if isinstance({layer}, {HOST}.Backbone):",
            f"{step}{value} = {HOST}.unpack_maps({layer}, {value}, {forward.outputs}, {forward.save})",
        ]
        blocks.append(Block(lines.after(run), lines.indent(run), "maps", body))
    for loop in anchors.fuse_loops:
        blocks.append(Block(lines.before(loop), lines.indent(loop), "fuse", [f"{HOST}.fuse_backbones(self.model)"]))
    return blocks


class Lines:
    """Where whole lines can be put in beside a statement."""

    def __init__(self, source: str, filename: str) -> None:
        self.lines = split_lines(source)
        self.filename = filename

    def before(self, statement: ast.stmt) -> int:
        self.require_own_lines(statement)
        return statement.lineno - 1

    def after(self, statement: ast.stmt) -> int:
        self.require_own_lines(statement)
        assert statement.end_lineno
        if statement.end_lineno == len(self.lines):
            raise self.refusal(statement, "the file ends with it")
        return statement.end_lineno

    def indent(self, statement: ast.stmt) -> str:
        line = self.lines[statement.lineno - 1]
        return line[: len(line) - len(line.lstrip())]

    def require_own_lines(self, statement: ast.stmt) -> None:
        assert statement.end_lineno
        assert statement.end_col_offset is not None
        first, last = self.lines[statement.lineno - 1], self.lines[statement.end_lineno - 1]
        before = first.encode("utf-8")[: statement.col_offset]  # ast counts columns in bytes of UTF-8
        behind = last.encode("utf-8")[statement.end_col_offset :].strip()
        if before.strip() or (behind and not behind.startswith(b"#")):
            raise self.refusal(statement, "it shares its line with another statement")

    def refusal(self, statement: ast.stmt, why: str) -> PatchError:
        return PatchError(
            f"{self.filename}, line {statement.lineno}: nothing can be inserted beside this statement, because {why}. "
            "Put it on a line of its own and run this again."
        )
