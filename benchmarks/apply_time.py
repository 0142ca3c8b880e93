"""How long applying the patch takes, beside starting Python: `.venv/bin/python -m benchmarks.apply_time CHECKOUT`.

Both are timed as whole processes, in turns; the median of the pairs' ratios is what a slow moment of the machine
does not move.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
RESULT = Path("benchmarks/results/apply_time.json")
NOTHING = [sys.executable, "-c", "pass"]


def main() -> None:
    """Measure, print and write as JSON."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "yolov5")
        shutil.copytree(sys.argv[1], copy, ignore=shutil.ignore_patterns(".git", "runs", "__pycache__"))
        patch = [sys.executable, "apply_patch.py", str(copy)]
        for turn in range(1 + ROUNDS):
            subprocess.run([*patch, "--revert"], check=True, capture_output=True)
            pair = seconds(NOTHING), seconds(patch)
            pairs += [pair] if turn else []  # the first turn fills the caches
    result = {
        "seconds of python -c pass": statistics.median(nothing for nothing, _ in pairs),
        "seconds of apply_patch.py": statistics.median(apply for _, apply in pairs),
        "ratio": statistics.median(apply / nothing for nothing, apply in pairs),
        "rounds": ROUNDS,
    }
    for name, value in result.items():
        print(f"{name:<28}{value:8.3g}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def seconds(command: list[str]) -> float:
    """Return how long a process takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
