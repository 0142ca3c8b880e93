"""Prints for the command lines of this package, where an output may be full, closed, or read by nobody any more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def print_line(text: str) -> bool:
    """Print lines to standard output at once, and return whether they could be printed.

    If not, standard error tells why, except for a reader that has seen enough, such as `head`.
    """
    problem = write(sys.stdout, text)
    if problem:
        print_error(f"error: standard output cannot be written: {problem}. Send it somewhere else.")
    return problem is None


def print_error(text: str) -> None:
    """Print lines to standard error, if anybody can read them there."""
    write(sys.stderr, text)


def write(stream: TextIO | None, text: str) -> str | None:
    """Write lines, and return what is wrong with the stream: None if nothing is, '' if its reader has gone.

    Characters that the stream's encoding lacks are escaped. What is written to a broken stream later goes nowhere, or
    Python's own writing at the end of the program would end in a traceback.
    """
    if stream is None:
        return "it is closed"
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except (OSError, ValueError) as error:  # a ValueError is that of a closed stream
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return "" if isinstance(error, BrokenPipeError) else getattr(error, "strerror", None) or str(error)
    return None
