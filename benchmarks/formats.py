"""Every format that YOLOv5's export.py writes: its size, its largest difference from PyTorch, its latency.

`.venv-export/bin/python -m benchmarks.formats path/to/yolov5` writes results/formats.json, for M0 at 640 px on a copy
of that checkout. `make test-exports` makes that environment.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from demo.host import Host

from .host import patched_host
from .timing import write_result

SIZE = 640  # pixels
FOLDER = Path("build/formats")
# the options of export.py, and the file or folder that it writes
FORMATS = {
    "torchscript": "detector.torchscript",
    "onnx": "detector.onnx",
    "onnx --simplify": "detector.onnx",
    "onnx --dynamic": "detector.onnx",
    "openvino": "detector_openvino_model",
    "coreml": "detector.mlpackage",
    "saved_model": "detector_saved_model",
    "pb": "detector.pb",
    "tflite": "detector-fp16.tflite",
}
RUNNABLE = [name for name in FORMATS if name != "coreml"]  # CoreML runs on macOS alone


def main() -> None:
    """Export, compare, print and write as JSON."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    shutil.rmtree(FOLDER, ignore_errors=True)
    host = patched_host(FOLDER / "yolov5", Path(sys.argv[1]))
    weights = (FOLDER / "detector.pt").resolve()
    run(host, "save_detector.py", host.prefix, host.root / "models" / "yolov5-efficientvit.yaml", weights)
    rows = []
    for name, made in FORMATS.items():
        row = {"format": name, **measure(host, weights, name, weights.with_name(made))}
        print(row, flush=True)
        rows.append(row)
    write_result("formats", rows, image_size=SIZE)


def measure(host: Host, weights: Path, name: str, made: Path) -> dict[str, Any]:
    """Export to one format and compare it with PyTorch; if the export fails, return what export.py says."""
    output = host.run(
        "export", ["--weights", weights, "--img-size", SIZE, "--device", "cpu", "--include", *name.split()]
    )
    if not made.exists() or "export failure" in output:
        return {"failure": next((line for line in output.splitlines() if "failure" in line), "nothing was made")}
    files = [path for path in made.rglob("*") if path.is_file()] if made.is_dir() else [made]
    found = {"MiB": round(sum(path.stat().st_size for path in files) / 2**20, 1)}
    if name in RUNNABLE:
        result, image = FOLDER.resolve() / "result.json", host.root / "data" / "images" / "bus.jpg"
        run(host, "export_probe.py", host.prefix, weights, made, image, result, f"{SIZE}x{SIZE}")
        found |= json.loads(result.read_text())[f"{SIZE}x{SIZE}"]
    return found


def run(host: Host, script: str, *arguments: object) -> None:
    """Run one of the tests' scripts inside the checkout."""
    command = [sys.executable, str(Path("tests", script).resolve()), *map(str, arguments)]
    subprocess.run(command, cwd=host.import_path, env=host.environment, check=True)


if __name__ == "__main__":
    main()
