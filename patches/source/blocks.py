"""Blocks of inserted lines, each between a begin and an end marker."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Sequence

from .. import PROJECT, __version__

HOST = "backbone_host"  # the name of our module in the host's files
ROWS = "backbone_rows"  # the name of our variable in parse_model
BEGIN = re.compile(rf"^[ \t]*# >>> {PROJECT} (\S+): (\w+)\s*$")
END = re.compile(rf"^[ \t]*# <<< {PROJECT}\s*$")


@dataclass(frozen=True)
class Block:
    """Lines to insert before the host's line number `line` (counted from 0), each with the host's `indent`.

    Attributes:
        former: statements that earlier versions inserted instead.
    """

    line: int
    indent: str
    name: str
    body: Sequence[str]
    former: Sequence[str] = ()

    def text(self, newline: str) -> str:
        """Return the block with its markers."""
        lines = [f"# >>> {PROJECT} {__version__}: {self.name}", *self.body, f"# <<< {PROJECT}"]
        return "".join(f"{self.indent}{line}{newline}" for line in lines)

    def statements(self) -> list[str]:
        """Return the block's statements, each with the indented lines below it."""
        statements: list[str] = []
        for line in self.body:
            if line[0].isspace():
                statements[-1] += f"\n{line}"
            else:
                statements.append(line)
        return statements


def split_lines(source: str) -> list[str]:
    r"""Split at \n, \r\n and \r only, like Python's parser and unlike `str.splitlines`; keep the line ends."""
    return io.StringIO(source, newline="").readlines()


def insert_blocks(source: str, blocks: Sequence[Block]) -> str:
    """Return `source` with the blocks inserted; a block has the line ends of the line below it."""
    lines = split_lines(source)
    for block in sorted(blocks, key=lambda block: block.line, reverse=True):
        neighbour = lines[block.line]
        newline = neighbour[len(neighbour.rstrip("\r\n")) :] or "\n"
        lines.insert(block.line, block.text(newline))
    return "".join(lines)
