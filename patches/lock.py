"""Keeps two runs from writing to one checkout at the same moment."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from .errors import PatchError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the only lock on a checkout; the system lets it go when the process ends, however it ends.

    The lock is on the folder models/, so nothing is left in the checkout. Windows cannot lock a folder; a file among
    the temporary files stands in for it there.

    Raises:
        PatchError: another run holds it, or the folder cannot be opened.
    """
    try:
        handle = os.open(root / "models", os.O_RDONLY) if fcntl else os.open(stand_in(root), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise PatchError(
            "cannot read", f"{root / 'models'} cannot be opened: {error.strerror}. Make it readable and run this again."
        ) from error
    try:
        take(handle)
    except OSError as error:
        os.close(handle)
        raise PatchError(
            "second run",
            f"another apply_patch.py is at work on {root} at this moment. Wait until it is done and run this again.",
        ) from error
    try:
        yield
    finally:
        os.close(handle)  # which lets the lock go


def take(handle: int) -> None:
    """Lock an open file or folder, or raise OSError at once."""
    if fcntl:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def stand_in(root: Path) -> Path:
    """Return the file whose lock stands for a checkout's."""
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"yolov5-efficientvit-{name}.lock")
