"""Parameters and floating-point operations of each model yaml beside stock yolov5n, s and m, at 640 px.

Run after `make demo`, whose patched YOLOv5 it builds the models in: `.venv/bin/python -m benchmarks.model_sizes`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from demo.host import Host

HOST = Path("build/demo/yolov5")
RESULT = Path("benchmarks/results/model_sizes.json")
NAMES = [
    *("yolov5-efficientvit" + suffix for suffix in ("", "-m1", "-m2", "-m3", "-m4", "-m5")),
    *("yolov5n", "yolov5s", "yolov5m"),
]

# Runs inside the host. Multiplications and additions are counted, also those of the attention's matrix products.
COUNT = """
import json, logging, sys
from importlib import import_module
import torch
from torch.utils.flop_counter import FlopCounterMode
logging.disable(logging.INFO)
prefix, folder, *names = sys.argv[1:]
for name in names:
    model = import_module(prefix + "models.yolo").Model(f"{folder}/{name}.yaml").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 640, 640))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(json.dumps({"yaml": name, "parameters": parameters, "gflops": counter.get_total_flops() / 1e9}))
"""


def main() -> None:
    """Count, print a table and write it as JSON."""
    if not (HOST / "models" / "yolov5-efficientvit.yaml").is_file():
        raise SystemExit(f"{HOST} is not there yet; run `make demo` first")
    host = Host(HOST, HOST.parent / "config")
    command = [sys.executable, "-c", COUNT, host.prefix, str(host.root / "models"), *NAMES]
    output = subprocess.run(
        command, cwd=host.import_path, env=host.environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    for row in rows:
        print(f"{row['yaml']:<24}{row['parameters']:>12,}{row['gflops']:>8.1f}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
