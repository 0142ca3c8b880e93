"""Refuses to overwrite what is not ours: foreign files in our places, and lines of ours that were edited."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import Mapping, Sequence

from . import PROJECT
from .blocks import find_blocks, split_lines
from .checkout import Checkout, regular_files
from .edits import OUR_CLASSES, Edit
from .errors import PatchError
from .record import NAME as RECORD
from .record import Record, block_digests, digest
from .rewrite import apply

PACKAGE = PurePosixPath(RECORD).parent
OWN_CLASS = re.compile(rb"^class (?:%s)\b" % OUR_CLASSES.pattern.encode(), re.MULTILINE)


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


def require_room_for_ours(checkout: Checkout, files: Mapping[str, bytes], record: Record, force: bool) -> None:
    """Refuse to overwrite files that are not ours, or that the user has edited since.

    Raises:
        PatchError: the message names the file.
    """
    module, init = checkout.root / f"{PACKAGE}.py", f"{PACKAGE}/__init__.py"
    package = checkout.read(init)
    is_foreign = package is not None and not record.files and digest(package) != digest(files[init])
    for foreign in [module] * os.path.isfile(module) + [checkout.root / init] * is_foreign:
        raise PatchError(
            "foreign models/backbone",
            f"{foreign} is of another project, and our package models/backbone would take its place. Rename yours, "
            "with the imports that name it, and run this again; delete it if it is left from an earlier patch.",
        )
    require_no_class_of_our_name(checkout)
    for name, content in files.items():
        current = checkout.read(name)
        if force or current is None or digest(current) == digest(content) or record.knows(name, current):
            continue
        path = checkout.root / name
        if name in record.files:
            raise PatchError(
                "edited file of ours",
                f"{path} exists and is not what was installed: you have edited it. Give your version another name, or "
                "run this again with --force to overwrite it.",
            )
        raise PatchError(
            "foreign file",
            f"{path} exists and is not what this patch installs: it is yours. Move it away or give it another name, or "
            "run this again with --force to overwrite it.",
        )


def require_no_class_of_our_name(checkout: Checkout) -> None:
    """Refuse a checkout with a backbone of its own under a name of ours.

    Raises:
        PatchError: the message names the file.
    """
    for path in regular_files(checkout.root / "models", "*.py"):
        try:
            content = path.read_bytes()
        except OSError:  # unreadable, or gone at this moment: YOLOv5 cannot import it either
            continue
        found = OWN_CLASS.search(content)
        if found:
            raise PatchError(
                "class of our name",
                f"{path} has a {found[0].decode()} of its own, which yamls could not name any more. Rename it, and run "
                "this again.",
            )
