"""Peak memory of a call, as the operating system counts it; Linux only."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Any, Callable

KB_PER_MIB = 2**10


def peak_memory(call: Callable[[], Any]) -> float:
    """Return how far a call raises the resident memory of this process at its peak, in MiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that is still held would hide what the call takes
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark to the present size
    before = status("VmRSS")
    call()
    return round((status("VmHWM") - before) / KB_PER_MIB, 1)


def status(field: str) -> int:
    """Return a field of /proc/self/status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
