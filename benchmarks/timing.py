"""Honest timing on a noisy machine: candidates in turns, the median of ratios within one turn.

A slow moment of the machine then hits all candidates of its turn alike, and an odd turn does not move a median. What
else runs on a shared machine changes from minute to minute too, hence several passes through everything.
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

# Figures by what is measured, then by candidate, one for each turn: seconds, or MiB.
Samples = Dict[str, Dict[str, List[float]]]


def in_passes(names: Sequence[str], passes: int, measure: Callable[[str], Samples]) -> dict[str, Samples]:
    """Return the figures of each name, measured as many times one name after the other."""
    samples: dict[str, Samples] = {name: {} for name in names}
    for number in range(passes):
        for name in names:
            print(f"pass {number + 1} of {passes}: {name}", flush=True)
            for what, by_candidate in measure(name).items():
                for candidate, figures in by_candidate.items():
                    samples[name].setdefault(what, {}).setdefault(candidate, []).extend(figures)
    return samples


def seconds_of(call: Callable[[], Any]) -> float:
    """Return how long a call takes on the CPU."""
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


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str) -> dict[str, float]:
    """Return how many times as fast as `slow` is `fast`: the median over the turns, and its quartiles."""
    ratios = [s / f for s, f in zip(seconds[slow], seconds[fast])]
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
    """Return what the figures depend on."""
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
