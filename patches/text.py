"""Paths of any bytes as text: for people, for a shell, and in a unified diff."""

from __future__ import annotations

import difflib
import os
import re
import shlex

from .install.plan import Change
from .source.blocks import split_lines


def without_surrogates(text: str) -> str:
    r"""Return a text with \xff in place of a byte that is not UTF-8, and \ud800 in place of any other surrogate."""

    def spell(match: re.Match[str]) -> str:
        number = ord(match[0])
        return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"

    return re.sub("[\ud800-\udfff]", spell, text)


def quoted(path: str) -> str:
    """Return a path quoted for a shell; if it is not UTF-8, in the $'...' of bash and zsh."""
    if without_surrogates(path) == path:
        return shlex.quote(path)
    escaped = path.replace("\\", r"\\").replace("'", r"\'")
    return f"$'{without_surrogates(escaped)}'"


def diff_lines(change: Change) -> list[str]:
    """Return a change as a unified diff that `git apply` and `patch` understand."""
    before, after = (
        split_lines((content or b"").decode("utf-8", "surrogateescape")) for content in (change.before, change.after)
    )
    old = "/dev/null" if change.before is None else name_in_diff(f"a/{change.name}")
    new = "/dev/null" if change.after is None else name_in_diff(f"b/{change.name}")
    lines = difflib.unified_diff(before, after, old, new)
    return [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines]


def name_in_diff(name: str) -> str:
    """Return a file's name as git writes it in a diff: quoted if necessary, or with a tab at the end after spaces."""
    if any(character < " " or character in '"\\\x7f' for character in name):
        safe = (
            chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\' else f"\\{byte:03o}" for byte in os.fsencode(name)
        )
        return f'"{"".join(safe)}"'
    return f"{name}\t" if " " in name else name
