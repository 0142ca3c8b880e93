"""Builds and runs our model yamls in a patched checkout, with the user's Python, in a separate process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Sequence

from ..install.checkout import Checkout, regular_files
from .probe import OUTCOME

PROBE = Path(__file__).with_name("probe.py")
YAMLS = "yolov5-efficientvit*.yaml"
TIMEOUT = 600  # seconds

# What to install for modules whose package has another name.
PACKAGES = {"cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml", "pkg_resources": "'setuptools<80'"}


def verify(checkout: Checkout, thorough: bool = False) -> list[dict[str, Any]]:
    """Return the outcome of each of our yamls in a checkout, or one outcome that names a missing package.

    Args:
        checkout: a patched checkout.
        thorough: also take a training step, and fuse.
    """
    yamls = regular_files(checkout.root / "models", YAMLS)
    outcomes = run_probe(checkout, yamls, ["--thorough"] if thorough else []) if yamls else []
    for outcome in outcomes:
        if outcome.get("layers") == []:
            outcome["error"] = "it was built without a backbone of ours"
        elif outcome.get("strides") == []:
            outcome["error"] = f"it was built without a head: its last layer is a {outcome['detect']}"
    return outcomes


def run_probe(checkout: Checkout, yamls: Sequence[Path], options: Sequence[str]) -> list[dict[str, Any]]:
    """Run probe.py inside a checkout and return its outcomes, at least one."""
    root = checkout.root.resolve()
    import_path, prefix = (root.parent, f"{root.name}.") if checkout.is_package else (root, "")
    command = [sys.executable, str(PROBE), f"{prefix}models.yolo", *options, *(str(path.resolve()) for path in yamls)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(import_path), str(root))),
        "PYTHONDONTWRITEBYTECODE": "1",  # so that the checkout stays as it is
        "YOLOv5_AUTOINSTALL": "false",
    }
    try:
        done = subprocess.run(  # noqa: S603 - this Python, on our own file
            command, cwd=import_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return [{"yaml": "models", "error": f"they were not built and run within {TIMEOUT} seconds"}]
    outcomes = [json.loads(line[len(OUTCOME) :]) for line in done.stdout.splitlines() if line.startswith(OUTCOME)]
    if not outcomes:
        last_line = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [{"yaml": "models", "error": f"{sys.executable} ended with exit code {done.returncode}: {last_line}"}]
    for outcome in outcomes:
        if "missing" in outcome:
            package = PACKAGES.get(outcome["missing"], outcome["missing"])
            outcome["command"] = f"{sys.executable} -m pip install {package}"
    return outcomes
