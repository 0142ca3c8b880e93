"""Peak memory of a call, as the operating system counts it (Linux)."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Any, Callable

MIB = 2**10  # of the kB that /proc counts in


def peak_memory(call: Callable[[], Any]) -> float:
    """Return by how many MiB the process was larger at its largest during the call than before it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory that is free but still held would hide what the call takes
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark to the present size
    before = status("VmRSS")
    call()
    return round((status("VmHWM") - before) / MIB, 1)


def status(field: str) -> int:
    """Return a field of /proc/self/status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
