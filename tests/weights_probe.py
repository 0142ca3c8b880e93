"""Run inside a patched YOLOv5 checkout, in a process of its own: what becomes of loaded weights, as JSON.

Use: python weights_probe.py PACKAGE_PREFIX ROOT FOLDER; FOLDER holds data.yaml, and receives result.json.
"""

import json
import runpy
import sys
from pathlib import Path

import torch

PREFIX, ROOT, FOLDER = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
CONFIG = ROOT / "models" / "yolov5-efficientvit.yaml"


class StopTrainingError(Exception):
    pass


def optimizer_groups():
    """Run the host's train.py until it has an optimizer; tell each backbone parameter's weight decays by group."""

    def stop(optimizer, *_, **__):
        seen.update(optimizer=optimizer, model=sys._getframe(1).f_locals["model"])
        raise StopTrainingError

    seen, scheduler = {}, torch.optim.lr_scheduler.LambdaLR
    torch.optim.lr_scheduler.LambdaLR = stop  # every release makes one right after its optimizer
    sys.argv = ["train.py", "--cfg", str(CONFIG), "--weights", "", "--data", str(FOLDER / "data.yaml"), "--img-size"]
    sys.argv += ["64", "--batch-size", "4", "--device", "cpu", "--project", str(FOLDER / "runs")]
    try:
        runpy.run_module(f"{PREFIX}train", run_name="__main__")
    except StopTrainingError:
        pass
    finally:
        torch.optim.lr_scheduler.LambdaLR = scheduler
    names = {id(parameter): name for name, parameter in seen["model"].model[0].named_parameters()}
    decays = {name: [] for name in names.values()}
    for group in seen["optimizer"].param_groups:
        for parameter in group["params"]:
            if id(parameter) in names:
                decays[names[id(parameter)]].append(group["weight_decay"])
    return decays


RESULT = {"decays": optimizer_groups()}
(FOLDER / "result.json").write_text(json.dumps(RESULT))
