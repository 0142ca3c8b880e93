"""What stays in a checkout, or stood there before, beside the files that the patch knows as its own."""

from __future__ import annotations

import os
from typing import Container

from .checkout import STAGED, Checkout, regular_files
from .payload import PATTERNS
from .record import PACKAGE

CACHE = "__pycache__"


def remaining_entries(checkout: Checkout, removed: Container[str], found_folder: bool) -> list[str]:
    """Return what stays in models/backbone, by its name in the checkout.

    Args:
        checkout: as it is before.
        removed: the names of what does not count.
        found_folder: whether the folder was there before the patch, with nothing in it but hidden entries.
    """
    folder = checkout.root / PACKAGE
    entries = sorted(os.listdir(folder)) if folder.is_dir() else []
    left = [entry for entry in entries if f"{PACKAGE}/{entry}" not in removed and STAGED not in entry]
    if found_folder:
        left = [entry for entry in left if not entry.startswith(".")]
    elif left == [CACHE] and os.access(folder / CACHE, os.W_OK | os.X_OK):
        left = []  # goes with the folder
    return [f"{PACKAGE}/{entry}" for entry in left]


def unknown_files(checkout: Checkout, known: Container[str]) -> list[str]:
    """Return the files that have names as ours have, but are not known."""
    paths = sorted(path for pattern in PATTERNS for path in regular_files(checkout.root, pattern))
    names = [path.relative_to(checkout.root).as_posix() for path in paths]
    return [name for name in names if name not in known]
