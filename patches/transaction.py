"""Writes a plan to disk: each file swapped in whole, and everything taken back if one of them cannot be.

All new content is first written to files beside their targets. What can fail for want of space or permission fails
then, before anything has changed; the rest is renaming and removing.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Iterable, Sequence

from . import PROJECT
from .errors import PatchError
from .plan import Change

NEW_FILE_MODE = 0o644
OUR_FOLDER = "models/backbone"
HOST_FOLDERS = ("", "models", "models/segment", "segment", "classify")
STAGED = f".{PROJECT}-new"  # how the name of a file ends that waits to take its target's place


def write_changes(root: Path, changes: Sequence[Change]) -> None:
    """Make the changes in their order, below `root`.

    Raises:
        PatchError: a file cannot be written; those before it have been put back.
    """
    targets = [(root / change.name).resolve() for change in changes]
    done = 0
    try:
        remove_staged(root / folder for folder in HOST_FOLDERS)
        staged = [stage(target, change.after, number) for number, (target, change) in enumerate(zip(targets, changes))]
        for target, change, new in zip(targets, changes, staged):
            require_unchanged(target, change)
            done += 1
            swap(target, new)
    except BaseException as error:
        put_back(list(zip(targets, changes)), done)
        if isinstance(error, OSError):
            path = Path(error.filename or targets[max(done - 1, 0)])
            raise PatchError(
                "cannot write",
                f"{path.parent / path.name.split(STAGED)[0].lstrip('.')} cannot be written: {error.strerror}. Nothing "
                "has been changed. Make the checkout writable, with room on its disk, and run this again.",
            ) from error
        raise
    tidy([*(target.parent for target in targets), root / OUR_FOLDER])


def require_unchanged(target: Path, change: Change) -> None:
    """Refuse to write over what somebody has saved since the change was planned.

    Raises:
        PatchError: the file is not what it was.
    """
    if content_of(target) != change.before:
        raise PatchError(
            "changed meanwhile", f"{target} was changed by another program at this moment. Run this again."
        )


def content_of(target: Path) -> bytes | None:
    """Return a file's bytes, or None where there is none."""
    return target.read_bytes() if target.exists() else None


def put_back(changes: Sequence[tuple[Path, Change]], done: int) -> None:
    """Undo the first `done` changes, the last one first, and remove what was staged for the others.

    Raises:
        PatchError: not even that can be written; the checkout works, but is neither patched nor as it was.
    """
    try:
        for target, change in reversed(changes[:done]):
            if content_of(target) != change.before:
                swap(target, stage(target, change.before, 0))
        tidy(target.parent for target, _ in changes)
    except OSError as error:
        raise PatchError(
            "half written",
            f"{error.filename} cannot be written ({error.strerror}), nor can what was written before be put back. "
            "YOLOv5's own models still work. Make the checkout writable, with room on its disk, and run this again.",
        ) from error


def stage(target: Path, content: bytes | None, number: int) -> Path | None:
    """Write what a file becomes beside it, with its mode and owner; None, for a file to remove, stays None."""
    if content is None:
        return None
    if not target.parent.is_dir():
        target.parent.mkdir()
        own(target.parent, target.parent.parent)
    new = target.with_name(f".{target.name}{STAGED}{number}")
    with open(new, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    exists = target.exists()
    os.chmod(new, stat.S_IMODE(target.stat().st_mode) if exists else NEW_FILE_MODE)
    own(new, target if exists else target.parent)
    return new


def own(path: Path, model: Path) -> None:
    """Give a file the owner of another, where root patches the checkout of somebody else."""
    if hasattr(os, "chown") and os.geteuid() == 0:
        owner = model.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def swap(target: Path, new: Path | None) -> None:
    """Put a staged file in its target's place, or remove the target, and have the folder's new state kept on disk.

    Each step is on the disk before the next begins, so the order of a plan holds through a loss of power.
    """
    if new is not None:
        os.replace(new, target)
    elif target.exists():
        target.unlink()
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        with suppress(OSError):  # some network file systems cannot
            os.fsync(folder)
        os.close(folder)


def tidy(folders: Iterable[Path]) -> None:
    """Remove staged files, and folders in which nothing else is left but Python's caches."""
    for folder in set(folders):
        remove_staged([folder])
        if folder.is_dir() and all(entry.name == "__pycache__" for entry in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)  # caches may be somebody else's


def remove_staged(folders: Iterable[Path]) -> None:
    """Remove files that wait to take their target's place; a run that was killed leaves them."""
    for folder in folders:
        for path in folder.glob(f".*{STAGED}*"):
            path.unlink()
