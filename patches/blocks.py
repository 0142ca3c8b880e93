"""Blocks of inserted lines, each between a begin and an end marker, and the host's lines around them."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Sequence

from . import PROJECT, __version__
from .errors import PatchError

BEGIN = re.compile(rf"^[ \t]*# >>> {PROJECT} (\S+): (\w+)\s*$")
END = re.compile(rf"^[ \t]*# <<< {PROJECT}\s*$")


@dataclass(frozen=True)
class Block:
    """Lines to insert before the host's line number `line` (counted from 0), each at the host's `indent`."""

    line: int
    indent: str
    name: str
    body: Sequence[str]

    def text(self, newline: str) -> str:
        lines = [f"# >>> {PROJECT} {__version__}: {self.name}", *self.body, f"# <<< {PROJECT}"]
        return "".join(f"{self.indent}{line}{newline}" for line in lines)


def split_lines(source: str) -> list[str]:
    r"""Split at \n, \r\n and \r, as Python's parser does and `str.splitlines` does not; keeps the line ends."""
    return io.StringIO(source, newline="").readlines()


def insert_blocks(source: str, blocks: Sequence[Block]) -> str:
    """Return `source` with the blocks put in; the line ends are those of the line that a block stands before."""
    lines = split_lines(source)
    for block in sorted(blocks, key=lambda block: block.line, reverse=True):
        neighbour = lines[block.line]
        newline = neighbour[len(neighbour.rstrip("\r\n")) :] or "\n"
        lines.insert(block.line, block.text(newline))
    return "".join(lines)


def remove_blocks(source: str, filename: str) -> str:
    """Return `source` without the blocks; without any, as it is.

    Raises:
        PatchError: a marker lacks its partner.
    """
    kept: list[str] = []
    begun = 0
    for number, line in enumerate(split_lines(source), 1):
        if BEGIN.match(line) and not begun:
            begun = number
        elif END.match(line) and begun:
            begun = 0
        elif BEGIN.match(line) or END.match(line):
            raise unpaired(filename, number)
        elif not begun:
            kept.append(line)
    if begun:
        raise unpaired(filename, begun)
    return "".join(kept)


def unpaired(filename: str, line: int) -> PatchError:
    """Return the refusal of a file in which one marker of a block is gone."""
    return PatchError(
        f"{filename}, line {line}: this {PROJECT} marker has lost its partner, so it cannot be told what was inserted. "
        "Restore the file from its release (git checkout models/yolo.py) and apply the patch again."
    )
