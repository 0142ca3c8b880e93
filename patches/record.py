"""The record of what was installed in a checkout, so that check, upgrade and revert need no guess."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Mapping

from . import PROJECT, __version__
from .checkout import Checkout
from .errors import PatchError
from .payload import PATTERNS

NAME = "models/backbone/installed.txt"  # of JSON, but many projects tell git to ignore *.json, YOLOv5 among them


@dataclass(frozen=True)
class Record:
    """What is known as ours: digests of each file, and the statements inserted into each file of the host.

    While an upgrade is under way, a file may have two digests: that of the old version and that of the new. Statements
    of older versions stay, because git may bring an old state of a file back.
    """

    files: Mapping[str, list[str]] = field(default_factory=dict)
    lines: Mapping[str, list[str]] = field(default_factory=dict)

    def knows(self, name: str, content: bytes) -> bool:
        """Whether a file is as we installed it."""
        return digest(content) in self.files.get(name, [])

    def content(self) -> bytes:
        """Return the record as a file."""
        fields = {"project": PROJECT, "version": __version__, "sha256": self.files, "lines": self.lines}
        return (json.dumps(fields, indent=1) + "\n").encode()


def read_record(checkout: Checkout, force: bool = False) -> Record:
    """Return the record of a checkout; an empty one if there is none, or if it is damaged and `force` is given.

    Raises:
        PatchError: the record is damaged, or names a file outside the folders that we write to.
    """
    content = checkout.read(NAME)
    if content is None:
        return Record()
    try:
        fields = json.loads(content)
        parts = fields["sha256"], fields.get("lines", {})  # records of before 2026-12 have none
        files, lines = ({name: list(known) for name, known in part.items()} for part in parts)
        texts = [text for part in (files, lines) for name, known in part.items() for text in (name, *known)]
        if all(isinstance(text, str) and text.isascii() for text in texts) and all(map(is_ours, files)):
            return Record(files, lines)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    if force:
        return Record()
    raise PatchError(
        "damaged record",
        f"{checkout.root / NAME}, the record of what was installed, is damaged. Run this again with --force to do "
        "without it; files and lines of ours that you have edited are not told from others then.",
    )


def is_ours(name: str) -> bool:
    """Whether a file may be one that this patch installs, or that an older version did."""
    path = PurePosixPath(name)
    return any(path.match(pattern) and len(path.parts) == pattern.count("/") + 1 for pattern in PATTERNS)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a text file in hexadecimal; line ends do not count, because git may change them."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
