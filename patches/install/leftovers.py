"""Files in a checkout beside those that the patch knows as its own."""

from __future__ import annotations

import os
from typing import Collection, Container

from .checkout import STAGED, Checkout, regular_files
from .payload import PACKAGE, PATTERNS

CACHE = "__pycache__"


def remaining_entries(
    checkout: Checkout, removed: Collection[str], found_folder: bool, folder: str = PACKAGE
) -> list[str]:
    """Return the names of the entries that stay in models/backbone.

    Args:
        checkout: before the removal.
        removed: names of entries that do not stay.
        found_folder: whether the folder existed before the patch, with only hidden entries in it.
        folder: where to look; subfolders of ours are searched too.
    """
    path = checkout.root / folder
    left = []
    for entry in sorted(os.listdir(path)) if path.is_dir() else ():
        name = f"{folder}/{entry}"
        if any(os.path.dirname(other) == name for other in removed):
            left += remaining_entries(checkout, removed, found_folder=False, folder=name)
        elif name not in removed and STAGED not in entry:
            left.append(name)
    if found_folder:
        return [name for name in left if not name.startswith(f"{folder}/.")]
    only_cache = left == [f"{folder}/{CACHE}"] and os.access(path / CACHE, os.W_OK | os.X_OK)
    return [] if only_cache else left


def unknown_files(checkout: Checkout, known: Container[str]) -> list[str]:
    """Return the names of files that match our patterns but are not known."""
    paths = sorted(path for pattern in PATTERNS for path in regular_files(checkout.root, pattern))
    names = [path.relative_to(checkout.root).as_posix() for path in paths]
    return [name for name in names if name not in known]
