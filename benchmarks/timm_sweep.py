"""Which model families of timm train in a patched YOLOv5, tried with the smallest model of each family.

Run after `make test` has unpacked YOLOv5: `OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.timm_sweep`. It takes about
an hour, goes on where it was stopped, and writes `benchmarks/results/timm_sweep.json` and `docs/timm.md`. Delete
the former to start over. The ONNX exports need the packages onnx, onnxruntime and onnxscript.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any, Iterator

import timm
import torch

from models.backbone.timm_backbone.plan import feature_scout, levels_of

from .host import patched_host
from .timm_page import page

JOBS = Path(f"build/timm_sweep_{timm.__version__}.json")  # the chosen models; choosing takes minutes
RESULT = Path("benchmarks/results/timm_sweep.json")
PAGE = Path("docs/timm.md")
PROBE = Path(__file__).with_name("timm_probe.py")
WANTED_STRIDES = ([8, 16, 32], [16, 32, 64], [4, 8, 16])  # three levels for the neck of yolov5-timm.yaml
IMAGE_SIZE = 224  # --img-size for models of one size, which are then built for 256
SECONDS = 900
ONNX_FAMILIES = (
    *("convnext", "densenet", "efficientnet", "hiera", "mobilenetv3"),
    *("regnet", "repvit", "resnet", "swin_transformer", "vgg"),
)


def choose_strides(available: set[int]) -> list[int]:
    """Return which of a model's strides to ask for: three for the neck, or the one of its deepest map."""
    return next((wanted for wanted in WANTED_STRIDES if set(wanted) <= available), [max(available)])


def choose_models() -> list[dict[str, Any]]:
    """Return a job per family: its smallest model, of those that give strides 8, 16 and 32 if there are any."""
    families: dict[str, list[tuple[bool, int, str, list[int]]]] = defaultdict(list)
    for name in timm.list_models():
        family = timm.models.model_entrypoint(name).__module__.split(".")[-1]
        try:
            scout = feature_scout(name)
        except ValueError:
            continue  # timm gives no feature maps of it
        strides = choose_strides({level.stride for level in levels_of(scout)})
        parameters = sum(p.numel() for p in scout.parameters())
        families[family].append((strides != WANTED_STRIDES[0], parameters, name, strides))
    jobs = []
    for family, models in sorted(families.items()):
        _, _, name, strides = min(models)
        jobs.append({"family": family, "model": name, "strides": strides, "onnx": family in ONNX_FAMILIES})
    return jobs


def run_jobs(jobs: list[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    """Run the jobs one after the other in the host, and yield each with its result."""
    host = patched_host(folder / "yolov5")
    yaml_path = host.root / "models" / "yolov5-timm.yaml"
    command = [sys.executable, str(PROBE.resolve()), host.prefix, str(yaml_path), str(IMAGE_SIZE), str(SECONDS)]
    process = subprocess.Popen(
        command, cwd=host.import_path, env=host.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin
        assert process.stdout
        for job in jobs:
            onnx_file = str(folder / f"{job['model']}.onnx") if job["onnx"] else ""
            process.stdin.write(json.dumps({**job, "onnx": onnx_file}) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith("{"):  # the host prints while it builds and fuses
                    yield {**job, **json.loads(line)}
                    break


def main() -> None:
    """Probe the families that are not in the results yet; write the results after each, and the page at the end."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(f"the ONNX exports need {', '.join(missing)}; install them with pip")
    results: dict[str, Any] = (
        json.loads(RESULT.read_text()) if RESULT.is_file() else {"timm": timm.__version__, "rows": []}
    )
    if results["timm"] != timm.__version__:
        raise SystemExit(f"{RESULT} is of timm {results['timm']}, this is {timm.__version__}; delete it to start over")
    done = {row["family"] for row in results["rows"]}
    if not JOBS.is_file():
        JOBS.write_text(json.dumps(choose_models(), indent=1) + "\n")
    jobs = [job for job in json.loads(JOBS.read_text()) if job["family"] not in done]
    RESULT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in run_jobs(jobs, Path(folder)):
            print(row, flush=True)
            results["rows"] = sorted([*results["rows"], row], key=lambda each: each["family"])
            RESULT.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
