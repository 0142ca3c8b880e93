"""Writes to standard output and standard error, which may be full, closed, or no longer read by anybody."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TextIO


def write(stream: TextIO | None, content: str | bytes) -> str:
    """Write and flush `content`; return what is wrong with the stream, or "".

    A closed pipe, as of `head`, is not wrong. A broken stream is redirected to nowhere, because Python itself writes to
    it at exit, and would change the exit code.
    """
    if stream is None:
        return "it is closed"
    try:
        stream.buffer.write(content) if isinstance(content, bytes) else stream.write(content)
        stream.flush()
    except BrokenPipeError:
        silence(stream)
    except (OSError, ValueError) as error:  # a closed stream raises ValueError
        silence(stream)
        return getattr(error, "strerror", None) or str(error)
    return ""


def silence(stream: TextIO) -> None:
    """Redirect a stream to nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
