"""Keeps two runs from writing to one checkout at the same moment."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..errors import PatchError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


# How the system says that somebody else holds a lock. Any other error says that there are no locks here, as on some
# network file systems.
HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextmanager
def locked(root: Path) -> Iterator[list[str]]:
    """Hold the only lock on a checkout; the system lets it go when the process ends, however it ends.

    The lock is on the folder models/, so nothing is left in the checkout. Windows cannot lock a folder; a file among
    the temporary files stands in for it there. Where there are no locks, the run goes on without one: a lock
    file of our own would stay behind a run that is killed.

    Yields:
        What the user should know: nothing, or that there is no lock.

    Raises:
        PatchError: another run holds it, or the folder cannot be opened.
    """
    handle, problem = None, ""
    try:
        handle = open_for_lock(root)
        acquire(handle)
    except OSError as error:
        if handle is not None and error.errno in HELD:
            os.close(handle)
            raise PatchError(
                "second run",
                f"another apply_patch.py is at work on {root} at this moment. Wait until it is done and run this "
                "again.",
            ) from error
        problem = error.strerror or str(error)
    note = f"{root / 'models'} cannot be locked ({problem}): do not run this twice at the same moment"
    try:
        yield [note] if problem else []
    finally:
        if handle is not None:
            os.close(handle)  # which lets the lock go


def open_for_lock(root: Path) -> int:
    """Open what is locked for a checkout.

    Raises:
        OSError: the stand-in cannot be opened, so that there is no lock.
        PatchError: the folder models/ cannot be opened, so that there is nothing to patch.
    """
    if not fcntl:
        return os.open(stand_in(root), os.O_RDWR | os.O_CREAT)
    try:
        return os.open(root / "models", os.O_RDONLY)
    except OSError as error:
        raise PatchError(
            "cannot read", f"{root / 'models'} cannot be opened: {error.strerror}. Make it readable and run this again."
        ) from error


def acquire(handle: int) -> None:
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
