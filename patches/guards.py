"""Refuses to overwrite what is not ours: foreign files in our places, and files of ours that were edited."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Mapping

from .checkout import Checkout
from .edits import OUR_CLASSES
from .errors import PatchError
from .record import NAME as RECORD
from .record import Record, digest

PACKAGE = PurePosixPath(RECORD).parent
OWN_CLASS = re.compile(rb"^class (?:%s)\b" % OUR_CLASSES.pattern.encode(), re.MULTILINE)


def require_room_for_ours(checkout: Checkout, files: Mapping[str, bytes], record: Record, force: bool) -> None:
    """Refuse to overwrite files that are not ours, or that the user has edited since.

    Raises:
        PatchError: the message names the file.
    """
    module, init = checkout.root / f"{PACKAGE}.py", f"{PACKAGE}/__init__.py"
    package = checkout.read(init)
    is_foreign = package is not None and not record.files and digest(package) != digest(files[init])
    for foreign in [module] * module.exists() + [checkout.root / init] * is_foreign:
        raise PatchError(
            "foreign models/backbone",
            f"{foreign} is of another project, and our package models/backbone would take its place. Rename yours, "
            "with the imports that name it, and run this again; delete it if it is left from an earlier patch.",
        )
    for path in sorted((checkout.root / "models").glob("*.py")):
        for found in OWN_CLASS.finditer(path.read_bytes()):
            raise PatchError(
                "class of our name",
                f"{path} has a {found[0].decode()} of its own, which yamls could not name any more. Rename it, and run "
                "this again.",
            )
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
