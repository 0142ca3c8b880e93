"""What all steps on a GPU share: options, clock, and a file of results that is written as the step goes on."""

from __future__ import annotations

import argparse
import json
import statistics
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple

import torch

from ..timing import environment, in_turns, seconds_of

VARIANTS = ["M0", "M2", "M5"]


class Session(NamedTuple):
    """The options of a step.

    Attributes:
        device: `cuda`, or `cpu` for a dry run.
        tiny: whether to use the smallest network, images and counts, to test the script itself.
        out: the folder of results.
        end: when to stop, in seconds of `time.time()`.
    """

    device: torch.device
    tiny: bool
    out: Path
    end: float

    @property
    def on_gpu(self) -> bool:
        """Whether this is no dry run on the CPU."""
        return self.device.type == "cuda"

    @property
    def variants(self) -> list[str]:
        """The networks to measure."""
        return VARIANTS[:1] if self.tiny else VARIANTS

    def time_is_left(self, seconds: float = 0) -> bool:
        """Whether this many seconds are left."""
        return time.time() + seconds < self.end

    def images(self, batch: int, size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return random images `(batch, 3, size, size)` from 0 to 1 on the device."""
        return torch.rand(batch, 3, size, size, device=self.device).to(dtype)

    def in_turns(self, candidates: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
        """Return the seconds of each call, by the device's clock; see `timing.in_turns`."""
        clock = device_seconds_of if self.on_gpu else seconds_of
        return in_turns(candidates, 2 if self.tiny else rounds, warm_up=1 if self.tiny else 3, clock=clock)

    def peak_mib(self, call: Callable[[], Any]) -> float | None:
        """Return the peak memory that a call allocates, in MiB, weights not counted; None on the CPU."""
        if not self.on_gpu:
            return None
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return round((torch.cuda.max_memory_allocated() - before) / 2**20)


class Results:
    """The rows of a step, in `OUT/STEP.json`, which is written anew with every row."""

    def __init__(self, session: Session, step: str) -> None:
        self.path = session.out / f"{step}.json"
        self.rows: list[dict[str, Any]] = []
        device = torch.cuda.get_device_name() if session.on_gpu else "dry run on the CPU"
        self.environment = {**environment(), "device": device, "cuda": torch.version.cuda, "tiny": session.tiny}

    def add(self, **row: Any) -> None:
        """Add a row."""
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        self.path.write_text(json.dumps({"environment": self.environment, "rows": self.rows}, indent=1) + "\n")


def parse_options(parser: argparse.ArgumentParser) -> Session:
    """Add the options of a session to a parser, parse the command line, and return the session.

    Raises:
        SystemExit: a GPU is asked for and there is none.
    """
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu for a dry run")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to try the script itself")
    parser.add_argument("--out", type=Path, default=Path("build/gpu/results"))
    parser.add_argument("--seconds", type=float, default=480, help="when to stop")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device is here; for a dry run on the CPU, add --device cpu --tiny")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.device == "cpu":
        torch.set_num_threads(1)  # other tests run at the same time
    return Session(torch.device(options.device), options.tiny, options.out, time.time() + options.seconds)


def run_step(step: str, measure: Callable[[Session, Results], None]) -> None:
    """Run one step as a command of its own."""
    session = parse_options(argparse.ArgumentParser(prog=f"python -m benchmarks.gpu.{step}"))
    measure(session, Results(session, step))


def device_seconds_of(call: Callable[[], Any]) -> float:
    """Return the seconds of a call on the GPU, from an idle device to the end of its last kernel."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def spread(seconds: list[float]) -> dict[str, float]:
    """Return median and quartiles in milliseconds."""
    low, median, high = (1000 * value for value in statistics.quantiles(seconds, n=4))
    return {"ms": round(median, 3), "from": round(low, 3), "to": round(high, 3)}


def failure(error: Exception) -> str:
    """Print an error with its traceback, and return it as one line."""
    traceback.print_exception(type(error), error, error.__traceback__)
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
