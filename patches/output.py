"""Writes to standard output and standard error, which may be full, closed, or read by nobody any more."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TextIO


def write(stream: TextIO | None, content: str | bytes) -> str:
    """Write all of it at once, and return what is wrong with the stream; nothing if it was written.

    A reader that has seen enough, such as `head`, is nothing wrong. What is written to a broken stream later goes
    nowhere, or Python's own writing at the end of the program would change the exit code.
    """
    if stream is None:
        return "it is closed"
    try:
        stream.buffer.write(content) if isinstance(content, bytes) else stream.write(content)
        stream.flush()
    except BrokenPipeError:
        silence(stream)
    except (OSError, ValueError) as error:  # a ValueError is that of a closed stream
        silence(stream)
        return getattr(error, "strerror", None) or str(error)
    return ""


def silence(stream: TextIO) -> None:
    """Let a stream lead nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
