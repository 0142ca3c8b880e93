"""Finds conflicts between our files and others, so that the patch overwrites and removes nothing of the user's."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Container, Iterable, Mapping, Sequence

from ..errors import PatchError
from ..source.edits import OUR_CLASSES
from .checkout import Checkout, regular_files
from .payload import HEADER, PACKAGE, is_in_subfolder, our_files
from .record import NAME as RECORD
from .record import Record, digest

OWN_CLASS = re.compile(rb"^class (?:%s)\b" % OUR_CLASSES.pattern.encode(), re.MULTILINE)
MAX_NAMED = 3  # other files that a message names

FOREIGN = (
    "{path} exists and is not what this patch installs: it is yours.{also} Move it away or give it another name, and "
    "run this again."
)
COPIED = (
    "{path} exists already. It is the same as in this project, but no record says that this patch installed it: "
    "somebody copied it by hand, or deleted the record.{also} Delete it and run this again, which installs it."
)
EDITED = (
    "{path} exists and is not what was installed: you have edited it.{also} Give your version another name, or run "
    "this again with --force to overwrite it."
)
LOST = (
    "{path} exists and is not what this version installs.{also} It may be of another version of this patch, or yours; "
    "the record of what was installed, which would tell, is lost or damaged. Move away what you want to keep, delete "
    "the rest, and run this again."
)


def require_separate(checkout: Checkout) -> None:
    """Check that the checkout is not this project itself: reverting would remove the project's own files.

    Raises:
        PatchError: it is; the message names one of these files.
    """
    for name, path in our_files().items():
        if os.path.realpath(checkout.root / name) == os.path.realpath(path):
            raise PatchError(
                "project in the checkout",
                f"{path} would be installed over itself, because {checkout.root} is the folder of this project too. "
                f"Fetch the project anew into a folder of its own, delete {PACKAGE} and the yolov5-efficientvit and "
                "yolov5-timm yamls from the checkout, and run the apply_patch.py of that folder.",
            )


def require_no_conflicts(
    checkout: Checkout, files: Mapping[str, bytes], record: Record, is_patched: bool, force: bool
) -> None:
    """Check that our files replace no file of the user's and no file of ours that the user has edited.

    A file is ours if the record names it. If a patched checkout has lost its record, a file is ours if it is as we
    install it. So revert never removes what existed before the patch.

    Raises:
        PatchError: they would; the message names the files.
    """
    module = checkout.root / f"{PACKAGE}.py"
    if os.path.isfile(module):
        raise foreign_backbone(module)
    record_is_lost = is_patched and not record.files
    if not record.files and not is_patched:
        require_no_package(checkout, files)
    require_no_class_of_our_name(checkout)
    current = {name: checkout.read(name) for name in files}
    unlike = [name for name, content in current.items() if content is not None and not record.knows(name, content)]
    same = {name for name in unlike if is_same(current[name] or b"", files[name])}
    foreign = [name for name in unlike if name not in record.files and name not in same]
    copied = [name for name in unlike if name not in record.files and name in same and not record_is_lost]
    edited = [name for name in unlike if name in record.files and name not in same and not force]
    for names, kind, message in (
        (foreign, "lost record" if record_is_lost else "foreign file", LOST if record_is_lost else FOREIGN),
        (copied, "copied file", COPIED),
        (edited, "edited file of ours", EDITED),
    ):
        if names:
            also = describe_others(names[1:])
            raise PatchError(kind, message.format(path=checkout.root / names[0], also=also), names)


def describe_others(names: Sequence[str]) -> str:
    """Return a sentence that more files are in the same state, with a few of their names; "" for none."""
    if not names:
        return ""
    if len(names) <= MAX_NAMED:
        return f" The same is true of {', '.join(names)}."
    first, rest = ", ".join(names[:MAX_NAMED]), len(names) - MAX_NAMED
    return f" The same is true of {first} and {rest} more; --verbose names them all."


def require_folders(checkout: Checkout, names: Iterable[str]) -> list[PurePosixPath]:
    """Check that the subfolders of our package are folders or do not exist yet, and return them.

    Raises:
        PatchError: one is a link or a file.
    """
    folders = sorted({PurePosixPath(name).parent for name in names if is_in_subfolder(name)})
    for folder in folders:
        path = checkout.root / folder
        if path.is_symlink():
            raise PatchError(
                "link in our place",
                f"{path} is a link, and a folder of our package has this place. Remove the link and run this again.",
            )
        checkout.require_folder(str(folder))
    return folders


def require_no_module(checkout: Checkout, folder: PurePosixPath, known: Container[str]) -> None:
    """Check that a folder of ours hides no module of the user's; `known` may name a module of an earlier version.

    Raises:
        PatchError: it does; the message names the module.
    """
    module = f"{folder}.py"
    if module not in known and os.path.lexists(checkout.root / module):
        raise PatchError(
            "foreign file",
            f"{checkout.root / module} would be hidden by our folder {folder}, so no import would find it. Give it "
            "another name and run this again.",
        )


def require_no_package(checkout: Checkout, files: Mapping[str, bytes]) -> None:
    """Check that models/backbone is empty or does not exist in a checkout that is not patched.

    Without an __init__.py it may be a package of the user's too.

    Raises:
        PatchError: it has files.
    """
    folder = checkout.root / PACKAGE
    init = f"{PACKAGE}/__init__.py"
    if not set(visible_entries(folder)) - {PurePosixPath(RECORD).name}:  # a damaged one, and --force
        return
    package = checkout.read(init)
    if package is not None and is_same(package, files[init]):
        raise PatchError("copied file", COPIED.format(path=folder, also=""))
    raise foreign_backbone(folder)


def is_same(current: bytes, content: bytes) -> bool:
    """Whether a file is as we install it, or was copied from the project by hand."""
    return digest(current) in (digest(content), digest(content.replace(HEADER, b"")))


def visible_entries(folder: Path) -> list[str]:
    """Return the names in a folder without hidden ones and Python's caches; none if there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if not name.startswith(".") and name != "__pycache__")


def foreign_backbone(path: Path) -> PatchError:
    """Return the error about a models/backbone, or models/backbone.py, that is not ours."""
    return PatchError(
        "foreign models/backbone",
        f"{path} is of another project, and our package models/backbone would take its place. Rename yours, with the "
        "imports that name it, and run this again; delete it if it is left from an earlier patch.",
    )


def require_no_class_of_our_name(checkout: Checkout) -> None:
    """Check that the checkout has no class with the name of one of our backbones.

    Raises:
        PatchError: it has; the message names the file.
    """
    for path in regular_files(checkout.root / "models", "*.py"):
        try:
            content = path.read_bytes()
        except OSError:  # unreadable, or removed meanwhile: YOLOv5 cannot import it either
            continue
        found = OWN_CLASS.search(content)
        if found:
            raise PatchError(
                "class of our name",
                f"{path} has a {found[0].decode()} of its own, which yamls could not name any more. Rename it, and run "
                "this again.",
            )
