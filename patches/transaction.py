"""Writes a plan to disk: each file swapped in whole, and everything taken back if one of them cannot be."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Sequence

from .errors import PatchError
from .plan import Change

NEW_FILE_MODE = 0o644


def write_changes(root: Path, changes: Sequence[Change]) -> None:
    """Make the changes in their order, below `root`.

    Raises:
        PatchError: a file cannot be written; those before it have been put back.
    """
    done: list[Change] = []
    try:
        for change in changes:
            done.append(change)
            write(root / change.name, change.after)
    except BaseException as error:
        for change in reversed(done):
            write(root / change.name, change.before)
        if isinstance(error, OSError):
            raise PatchError(
                f"{error.filename or root / done[-1].name} cannot be written: {error.strerror}. Nothing has been "
                "changed. Make the checkout writable, with room on its disk, and run this again."
            ) from error
        raise


def write(path: Path, content: bytes | None) -> None:
    """Give a file its content in one step, at any instant either the old or the new; None removes it."""
    if content is None:
        if path.exists():
            path.unlink()
        remove_if_empty(path.parent)
        return
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode if path.exists() else NEW_FILE_MODE
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def remove_if_empty(folder: Path) -> None:
    """Remove a folder in which nothing is left but Python's caches."""
    if folder.is_dir() and all(entry.name == "__pycache__" for entry in folder.iterdir()):
        shutil.rmtree(folder)
