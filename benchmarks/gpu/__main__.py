"""Everything that needs a GPU: the tests marked `cuda`, then each step of the benchmarks, the most important first.

Each step runs in a process of its own, so that one that fails ends alone, and writes its results as it goes.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from typing import IO

from .session import Session, parse_options
from .table import write_tables

# Each step, and the largest share of the remaining time that it may take.
STEPS = {"tests": 0.35, "training": 0.4, "inference": 0.4, "attention": 0.4, "classifier": 0.5, "latency": 1.0}
REPORTING = 5  # seconds reserved for the tables


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
        print(f"== {step}, at most {seconds:.0f} s", flush=True)
        began = time.time()
        with open(session.out / f"{step}.log", "w") as log:
            timeout = seconds if step == "tests" else left
            codes[step] = run(command_of(step, session, seconds), log, timeout)
        print(f"   exit code {codes[step]} after {time.time() - began:.0f} s", flush=True)
    print(write_tables(session.out))
    return codes.get("tests") or int(any(codes.values()))


def command_of(step: str, session: Session, seconds: float) -> list[str]:
    """Return the command of one step."""
    device = ["--device", session.device.type]
    if step == "tests":
        tests = "tests/cuda/test_backbones.py" if session.tiny else "tests/cuda"
        command = ["pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "-m", "cuda", *device, tests]
        command += ["-n", "2", "--dist", "loadfile"] if session.on_gpu else []  # the GPU waits for Python in each
    else:
        command = [f"benchmarks.gpu.{step}", *device, "--out", str(session.out), "--seconds", f"{seconds:.0f}"]
        command += ["--tiny"] if session.tiny else []
    return [sys.executable, "-m", *command]


def run(command: list[str], log: IO[str], timeout: float) -> int:
    """Run a command and return its exit code: 124 if it timed out, after which its whole process group is killed."""
    with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return 124


if __name__ == "__main__":
    sys.exit(main())
