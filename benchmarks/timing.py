"""Timing on a noisy machine: candidates are called in turns, and a ratio is the median over the turns.

A slow moment of the machine then slows all candidates of its turn alike, and an outlier does not move a median. The
load of a shared machine also changes from minute to minute, hence several passes through everything.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence

import torch

RESULTS = Path(__file__).parent / "results"

# Figures by what is measured, then by candidate, one for each turn: seconds or MiB.
Samples = Dict[str, Dict[str, List[float]]]


def in_passes(names: Sequence[str], passes: int, measure: Callable[[str], Samples]) -> dict[str, Samples]:
    """Measure the names one after the other, `passes` times, and return the figures of each name."""
    samples: dict[str, Samples] = {name: {} for name in names}
    for number in range(passes):
        for name in names:
            print(f"pass {number + 1} of {passes}: {name}", flush=True)
            for what, by_candidate in measure(name).items():
                for candidate, figures in by_candidate.items():
                    samples[name].setdefault(what, {}).setdefault(candidate, []).extend(figures)
    return samples


def seconds_of(call: Callable[[], Any]) -> float:
    """Return the seconds of a call on the CPU."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(
    candidates: Mapping[str, Callable[[], Any]],
    rounds: int,
    warm_up: int = 2,
    clock: Callable[[Callable[[], Any]], float] = seconds_of,
) -> dict[str, list[float]]:
    """Return the seconds of each call of each candidate; they are called in turns, each `rounds` times."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(-warm_up, rounds):
        for name, call in candidates.items():
            taken = clock(call)
            if turn >= 0:
                seconds[name].append(taken)
    return seconds


def ratio(seconds: Mapping[str, list[float]], numerator: str, denominator: str) -> dict[str, float]:
    """Return the ratio of two candidates' times within a turn: the median over the turns, and its quartiles."""
    ratios = [above / below for above, below in zip(seconds[numerator], seconds[denominator])]
    low, median, high = statistics.quantiles(ratios, n=4)
    return {"median": round(median, 3), "from": round(low, 3), "to": round(high, 3)}


def milliseconds(seconds: list[float]) -> float:
    """Return the median, in milliseconds."""
    return round(1000 * statistics.median(seconds), 2)


def write_result(name: str, rows: Any, **settings: Any) -> None:
    """Write rows and the environment they were measured in as `results/NAME.json`."""
    RESULTS.mkdir(exist_ok=True)
    content = {"environment": {**environment(), **settings}, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def environment() -> dict[str, Any]:
    """Return the hardware and the versions that the figures depend on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
