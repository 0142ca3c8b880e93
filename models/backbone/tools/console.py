"""Prints for the commands of this package to streams that may be full, closed, or no longer read by anybody."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def print_line(text: str) -> bool:
    """Print lines to standard output and flush it; return whether that worked.

    If not, print why to standard error, except if the reader has closed the pipe, as `head` does.
    """
    problem = write(sys.stdout, text)
    if problem:
        print_error(f"error: standard output cannot be written: {problem}. Send it somewhere else.")
    return problem is None


def print_error(text: str) -> None:
    """Print lines to standard error; do nothing if that fails."""
    write(sys.stderr, text)


def write(stream: TextIO | None, text: str) -> str | None:
    """Write lines, and return what is wrong with the stream: None for nothing, '' for a closed pipe.

    Characters that the stream's encoding lacks are escaped. A broken stream is redirected to nowhere, because Python
    itself writes to it at exit and would end in a traceback.
    """
    if stream is None:
        return "it is closed"
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except (OSError, ValueError) as error:  # a closed stream raises ValueError
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return "" if isinstance(error, BrokenPipeError) else getattr(error, "strerror", None) or str(error)
    return None
