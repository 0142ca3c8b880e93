"""Refuses lines of ours that were edited since they were put in."""

from __future__ import annotations

from typing import Sequence

from . import PROJECT
from .blocks import find_blocks, split_lines
from .edits import Edit
from .errors import PatchError
from .record import block_digests
from .rewrite import apply


def require_our_blocks(text: str, stock: str, filename: str, edit: Edit, recorded: Sequence[str] | None) -> None:
    """Refuse blocks that are not those that were put in.

    Args:
        text: a file with blocks.
        stock: the same without them.
        filename: for the message.
        edit: what puts them in.
        recorded: the digest of each block as it was put in; None without a record.

    Raises:
        PatchError: the message names the block, its line, and what is wrong with it.
    """
    found = find_blocks(text, filename)
    versions = sorted({block.version for block in found})
    if len(versions) > 1:
        lines = " and ".join(str(next(b.line for b in found if b.version == version)) for version in versions)
        raise PatchError(
            "blocks of two versions",
            f"{filename}, lines {lines}: these blocks were inserted by two versions of {PROJECT}, "
            f"{' and '.join(versions)}, so one of them is not what it was. Run this again with --force to replace them "
            "all, or restore the file from its release first.",
        )
    expected = recorded
    if expected is None:
        expected = block_digests(find_blocks(apply(stock, filename, edit), filename))
    digests = block_digests(found)
    if digests == expected:
        return
    for block, is_digest in zip(found, digests):
        if is_digest not in expected:
            shown = split_lines(block.text)[1].strip() if block.text.count("\n") > 2 else "nothing"
            raise PatchError(
                "edited block",
                f"{filename}, line {block.line}: the lines of the block '{block.name}', which begin with {shown!r}, "
                f"are not those that {PROJECT} {block.version} inserted; somebody has edited them. Run this again "
                "with --force to replace them, or restore the file from its release first.",
            )
    names = [one.split()[0] for one in expected]
    raise PatchError(
        "missing block",
        f"{filename}, line {found[0].line}: expected the blocks {', '.join(names)}, found "
        f"{', '.join(block.name for block in found)}; somebody has removed, doubled or moved some. Run this again with "
        "--force to put them right, or restore the file from its release first.",
    )
