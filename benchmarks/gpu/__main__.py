"""Everything that a GPU is wanted for: the tests marked `cuda`, then each step of the benchmarks, most important first.

Each step runs in a process of its own, which one that fails does not take along, and writes its results as it goes.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from typing import IO

from .session import parse_options
from .table import write_tables

# Each step, and what share of the time that is left it may take at most.
STEPS = {"tests": 0.35, "training": 0.4, "inference": 0.4, "attention": 0.4, "classifier": 0.5, "latency": 1.0}
REPORTING = 5  # seconds that are kept for the table


def main() -> int:
    """Run the steps; the exit code is that of the tests, or 1 where another step failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    steps: list[str] = parser.parse_known_args()[0].steps
    session = parse_options(parser)
    codes = {}
    for step in steps:
        left = session.end - REPORTING - time.time()
        seconds = left * STEPS[step] if len(steps) > 1 else left
        common = ["--device", session.device.type]
        if step == "tests":
            tests = "tests/cuda/test_backbones.py" if session.tiny else "tests/cuda"
            command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "-m", "cuda", *common, tests]
            command += ["-n", "2", "--dist", "loadfile"] if session.on_gpu else []  # on a GPU, each waits for Python
        else:
            command = [
                "-m",
                f"benchmarks.gpu.{step}",
                *common,
                "--out",
                str(session.out),
                "--seconds",
                f"{seconds:.0f}",
            ]
            command += ["--tiny"] if session.tiny else []
        print(f"== {step}, at most {seconds:.0f} s", flush=True)
        began = time.time()
        with open(session.out / f"{step}.log", "w") as log:
            timeout = seconds if step == "tests" else left
            codes[step] = run([sys.executable, *command], log, timeout)
        print(f"   exit code {codes[step]} after {time.time() - began:.0f} s", flush=True)
    print(write_tables(session.out))
    return codes.get("tests") or int(any(codes.values()))


def run(command: list[str], log: IO[str], timeout: float) -> int:
    """Run a command and return its exit code; when the time is over, end it with all that it has started: 124."""
    with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return 124


if __name__ == "__main__":
    sys.exit(main())
