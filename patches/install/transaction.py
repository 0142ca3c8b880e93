"""Writes a plan to disk: each file is replaced as a whole, and all are restored if one cannot be.

All new content is first written to files beside their targets. A lack of space or permission shows then, before
anything has changed; the rest is renaming and removing.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Iterable, Sequence

from ..errors import PatchError
from .checkout import STAGED
from .plan import Change

NEW_FILE_MODE = 0o644
FOLDERS = ("models", "models/backbone", "models/backbone/*", "models/segment", "segment", "classify")
CACHE = "__pycache__"
SEPARATOR = "+"  # between folder names, in the name of a staged folder that has new folders above it


def write_changes(root: Path, changes: Sequence[Change]) -> None:
    """Make the changes in their order, below `root`.

    Raises:
        PatchError: a file cannot be written; those before it have been restored.
    """
    targets = [(root / change.name).resolve() for change in changes]
    new_folders = {target.parent for target in targets if not target.parent.is_dir()}
    done = 0
    try:
        remove_staged([root, *(folder for pattern in FOLDERS for folder in root.glob(pattern))])
        staged = [stage(target, change.after, number) for number, (target, change) in enumerate(zip(targets, changes))]
        for target, change, new in zip(targets, changes, staged):
            require_unchanged(target, change)
            done += 1
            swap(target, new, change.with_folder)
    except BaseException as error:
        put_back(list(zip(targets, changes)), done, new_folders)
        if isinstance(error, OSError):
            path = target_of(Path(error.filename or targets[max(done - 1, 0)]), targets)
            raise PatchError(
                "cannot write",
                f"{path} cannot be written: {error.strerror}. Nothing has been changed. Make the checkout writable, "
                "with room on its disk, and run this again.",
            ) from error
        raise
    remove_staged({target.parent for target in targets})


def target_of(path: Path, targets: Sequence[Path]) -> Path:
    """Return the file or folder that the staged one at `path` is to replace; any other path unchanged."""
    name = path.name[1:].split(STAGED)[0]
    if STAGED not in path.name:
        return path
    return targets[int(name)] if name.isdigit() else path.parent.joinpath(*name.split(SEPARATOR))


def require_unchanged(target: Path, change: Change) -> None:
    """Check that nobody has saved a file since the change was planned.

    Raises:
        PatchError: its content is different.
    """
    if content_of(target) != change.before:
        raise PatchError(
            "changed meanwhile", f"{target} was changed by another program at this moment. Run this again."
        )


def content_of(target: Path) -> bytes | None:
    """Return a file's bytes, or None if there is none."""
    return target.read_bytes() if target.exists() else None


def put_back(changes: Sequence[tuple[Path, Change]], done: int, new_folders: Iterable[Path]) -> None:
    """Undo the first `done` changes, the last one first, and remove staged files.

    Args:
        changes: all of them, with their targets.
        done: how many were made or begun.
        new_folders: the folders that did not exist before.

    Raises:
        PatchError: a file cannot be restored; the checkout works, but is neither patched nor as it was.
    """
    try:
        for target, change in reversed(changes[:done]):
            if content_of(target) != change.before:
                swap(target, stage(target, change.before, 0))
        remove_staged({target.parent for target, _ in changes})
        for folder in sorted(new_folders, key=lambda folder: len(folder.parts), reverse=True):  # the inner ones first
            remove_staged([folder.parent])
            remove_folder(folder)
    except OSError as error:
        raise PatchError(
            "half written",
            f"{error.filename} cannot be written ({error.strerror}), and the files before it cannot be put back. "
            "YOLOv5's own models still work. Make the checkout writable, with room on its disk, and run this again.",
        ) from error


def stage(target: Path, content: bytes | None, number: int) -> Path | None:
    """Write a file's new content beside it, with its mode and owner, and return that path; None for no content.

    If its folder does not exist yet, the file is written into a staged folder.
    """
    if content is None:
        return None
    folder = target.parent
    if not folder.is_dir():
        folder = staged_folder(folder)
        folder.mkdir(exist_ok=True)
        copy_owner(folder, folder.parent)
    new = folder / f".{number}{STAGED}"  # a number, because the file's name may have the maximum length
    with open(new, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    exists = target.exists()
    os.chmod(new, stat.S_IMODE(target.stat().st_mode) if exists else NEW_FILE_MODE)
    copy_owner(new, target if exists else folder)
    return new


def staged_folder(folder: Path) -> Path:
    """Return the staged path of a new folder, beside the topmost folder above it that does not exist yet."""
    names = [folder.name]
    above = folder.parent
    while not above.is_dir():
        names.insert(0, above.name)
        above = above.parent
    return above / f".{SEPARATOR.join(names)}{STAGED}"


def copy_owner(path: Path, model: Path) -> None:
    """Give a file the owner of `model`, for root who patches somebody else's checkout."""
    if hasattr(os, "chown") and os.geteuid() == 0:
        owner = model.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def swap(target: Path, new: Path | None, with_folder: bool = False) -> None:
    """Replace a target by its staged file, or remove it, and sync the folder.

    Each step is on disk before the next begins, so a power failure keeps the order of a plan. A folder appears with its
    first file and disappears with its last in one step, so a killed run leaves no empty folder.
    """
    folder = target.parent
    if new is not None and not folder.is_dir():
        os.replace(new, new.with_name(target.name))
        sync(new.parent)
        os.rename(new.parent, folder)
        sync(folder.parent)
        sync(new.parent.parent)
    elif new is not None:
        os.replace(new if new.parent.is_dir() else folder / new.name, target)
        sync(folder)
    elif with_folder and is_last(target):
        gone = folder.with_name(f".{folder.name}{STAGED}")
        os.rename(folder, gone)
        sync(folder.parent)
        shutil.rmtree(gone, ignore_errors=True)  # it has only this file, and the next run tries again
    elif target.exists():
        target.unlink()
        sync(folder)


def sync(folder: Path) -> None:
    """Write a folder's entries to disk."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # some network file systems cannot
            os.fsync(handle)
        os.close(handle)


def is_last(target: Path) -> bool:
    """Whether a file is the last in its folder; removes Python's caches there if nothing else is left."""
    entries = {entry.name for entry in target.parent.iterdir()} - {target.name}
    if entries == {CACHE}:
        shutil.rmtree(target.parent / CACHE, ignore_errors=True)  # they may belong to another user
    return entries <= {CACHE} and not (target.parent / CACHE).exists()


def remove_folder(folder: Path) -> None:
    """Remove a folder if it is empty."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def remove_staged(folders: Iterable[Path]) -> None:
    """Remove staged files and folders, which a killed run leaves behind."""
    for folder in folders:
        for path in folder.glob(f".*{STAGED}*") if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
