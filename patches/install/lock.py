"""Prevents two runs from writing to one checkout at the same time."""

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


# The errors for a lock that another process holds. Any other error means that the file system has no locks.
HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextmanager
def locked(root: Path) -> Iterator[list[str]]:
    """Hold the lock on a checkout; the system releases it when the process ends, in any way.

    The lock is on the folder models/, so it leaves no file in the checkout. Windows cannot lock a folder, so a
    temporary file is locked instead. On a file system without locks, the run goes on without one: the mere existence of
    a lock file would outlast a run that is killed.

    Yields:
        Notes for the user: none, or that there is no lock.

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
            os.close(handle)  # releases the lock


def open_for_lock(root: Path) -> int:
    """Open the folder models/, or on Windows the file that is locked instead.

    Raises:
        OSError: that file cannot be opened, so there is no lock.
        PatchError: the folder cannot be opened, so nothing can be patched.
    """
    if not fcntl:
        return os.open(lock_file(root), os.O_RDWR | os.O_CREAT)
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


def lock_file(root: Path) -> Path:
    """Return the temporary file that is locked for a checkout on Windows."""
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"yolov5-efficientvit-{name}.lock")
