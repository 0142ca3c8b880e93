"""The record of what was installed in a checkout, by which check, upgrade and revert know our files and lines."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Mapping, Sequence

from .. import PROJECT, __version__
from ..errors import PatchError
from ..source.removal import OUR_NAMES, words
from .checkout import Checkout
from .payload import PACKAGE, PATTERNS

NAME = f"{PACKAGE}/installed.txt"  # JSON, but YOLOv5 and other projects let git ignore *.json


@dataclass(frozen=True)
class Record:
    """What is known as ours: digests of each file, and the statements inserted into each file of the host.

    During an upgrade, a file may have two digests, of the old version and of the new. Statements of older versions
    stay, because git may restore an old state of a file.

    Attributes:
        found_folder: whether models/backbone existed, empty, before the patch; revert then leaves it.
        originals: the checksum of each file of the host before the patch, if it is known.
    """

    files: Mapping[str, list[str]] = field(default_factory=dict)
    lines: Mapping[str, list[str]] = field(default_factory=dict)
    found_folder: bool = False
    originals: Mapping[str, str] = field(default_factory=dict)

    def knows(self, name: str, content: bytes) -> bool:
        """Whether a file is as we installed it."""
        return digest(content) in self.files.get(name, [])

    def lines_with(self, inserted: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return the statements of each file: those in the record, and those that are inserted now."""
        lines = {name: set(known) for name, known in self.lines.items()}
        for name, statements in inserted.items():
            known = lines.setdefault(name, set())
            texts = [words(statement) for statement in known]  # the indent does not count
            known.update(statement for statement in statements if words(statement) not in texts)
        return {name: sorted(lines[name]) for name in sorted(lines)}

    def content(self) -> bytes:
        """Return the record as a file."""
        files = {written_name(name): known for name, known in self.files.items()}
        fields: dict[str, Any] = {"project": PROJECT, "version": __version__, "sha256": files, "lines": self.lines}
        if self.found_folder:
            fields["found_folder"] = True
        if self.originals:
            fields["originals"] = self.originals
        return (json.dumps(fields, indent=1) + "\n").encode()


def read_record(checkout: Checkout, force: bool = False) -> Record:
    """Return the record of a checkout; an empty one if there is none, or if it is damaged and `force` is given.

    Raises:
        PatchError: the record is damaged, or names a file outside of our folders.
    """
    content = checkout.read(NAME)
    if content is None:
        return Record()
    try:
        fields = json.loads(content)
        parts = fields["sha256"], fields.get("lines", {})  # the first records had none
        files, lines = ({name: list(known) for name, known in part.items()} for part in parts)
        texts = [text for part in (files, lines) for known in part.values() for text in known]
        files = {read_name(name): known for name, known in files.items()}
        known = all(OUR_NAMES.search(statement) for statements in lines.values() for statement in statements)
        if known and all(isinstance(text, str) for text in (*texts, *lines)) and all(map(is_ours, files)):
            return Record(files, lines, fields.get("found_folder") is True, dict(fields.get("originals", {})))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    if force:
        return Record()
    raise PatchError(
        "damaged record",
        f"{checkout.root / NAME}, the record of what was installed, is damaged. Run this again with --force to do "
        "without it; it then takes files and lines that you have edited for your own.",
    )


def written_name(name: str) -> str:
    """Return a file's name as the record stores it: its bytes as UTF-8, whatever the encoding of this system is.

    Bytes that are not UTF-8 become lone surrogates, as `os.fsdecode` makes them.
    """
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def read_name(written: str) -> str:
    """Return a file's name from the record, as this system spells it."""
    return os.fsdecode(written.encode("utf-8", "surrogateescape"))


def is_ours(name: str) -> bool:
    """Whether a file may be one that this patch installs, or that an older version did."""
    path = PurePosixPath(name)
    return "\0" not in name and any(
        path.match(pattern) and len(path.parts) == pattern.count("/") + 1 for pattern in PATTERNS
    )


def checksum(content: bytes) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest(content: bytes) -> str:
    """Return the SHA-256 of a text file in hexadecimal, with line ends normalised, because git may change them."""
    return checksum(content.replace(b"\r\n", b"\n"))
