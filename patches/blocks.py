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
        """Return the block with its markers."""
        lines = [f"# >>> {PROJECT} {__version__}: {self.name}", *self.body, f"# <<< {PROJECT}"]
        return "".join(f"{self.indent}{line}{newline}" for line in lines)


@dataclass(frozen=True)
class FoundBlock:
    """A block in a patched file; `line` is that of its begin marker, counted from 1."""

    line: int
    version: str
    name: str
    text: str


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
    return separate(source, filename)[0]


def find_blocks(source: str, filename: str) -> list[FoundBlock]:
    """Return the blocks in `source`, in their order.

    Raises:
        PatchError: a marker lacks its partner.
    """
    return separate(source, filename)[1]


def separate(source: str, filename: str) -> tuple[str, list[FoundBlock]]:
    """Return the host's own text, and the blocks that stood in it."""
    own: list[str] = []
    blocks: list[FoundBlock] = []
    begun: re.Match[str] | None = None
    inside: list[str] = []
    first = 0
    for number, line in enumerate(split_lines(source), 1):
        begin, end = BEGIN.match(line), END.match(line)
        if begin and not begun:
            begun, first, inside = begin, number, [line]
        elif begun and not begin:
            inside.append(line)
            if end:
                blocks.append(FoundBlock(first, begun[1], begun[2], "".join(inside)))
                begun = None
        elif begin or end:
            raise unpaired(filename, first if begun else number)
        else:
            own.append(line)
    if begun:
        raise unpaired(filename, first)
    return "".join(own), blocks


def unpaired(filename: str, line: int) -> PatchError:
    """Return the refusal of a file in which one marker of a block is gone."""
    return PatchError(
        "unpaired marker",
        f"{filename}, line {line}: this {PROJECT} marker has lost its partner, so it cannot be told what was inserted. "
        f"Restore the file from its release (git checkout, for a clone) and apply the patch again.",
    )
