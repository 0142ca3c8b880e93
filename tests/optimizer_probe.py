"""Run inside a YOLOv5 checkout, in a process of its own: trains by its train.py, and writes what became of each parameter.

Use: python optimizer_probe.py PACKAGE_PREFIX FOLDER OPTIMIZERS.json RESULT.json [OPTIONS of train.py]

FOLDER holds data.yaml, model.yaml and hyp.yaml; OPTIMIZERS.json the options of train.py by the name of each optimizer.
The result is, by that name, the backbone's parameters: their dimensions, whether training has moved them, and the weight
decay of each group of the optimizer that they are in.
"""

import importlib
import json
import runpy
import sys
from pathlib import Path

import torch
from torch.optim import optimizer as torch_optimizer
from train_without_plots import leave_out_plots

PREFIX, FOLDER, OPTIMIZERS, RESULT = sys.argv[1], *map(Path, sys.argv[2:5])
MORE = sys.argv[5:]
sys.modules["thop"] = None  # with it, the host counts the operations of each model, which takes longer than to build it
yolo = importlib.import_module(f"{PREFIX}models.yolo")
construct = yolo.Model.__init__
MODELS, BEGUN, SEEN = [], {}, {}  # of the training that is under way


def construct_and_keep(self, *args, **options):
    """Build the model, with layer scales of 1: behind the 1e-6 of a new one, other gradients are too small to count."""
    construct(self, *args, **options)
    with torch.no_grad():
        for name, parameter in self.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(1.0)
    MODELS.append(self)


def before_step(optimizer, args, kwargs):
    """Keep the values before the first step."""
    if not BEGUN:
        BEGUN.update((name, parameter.detach().clone()) for name, parameter in MODELS[-1].model[0].named_parameters())


def after_step(optimizer, args, kwargs):
    """Compare with the values before the first step."""
    decays = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            decays.setdefault(id(parameter), []).append(group["weight_decay"])
    for name, parameter in MODELS[-1].model[0].named_parameters():
        moved = not torch.equal(parameter, BEGUN[name]) and bool(parameter.isfinite().all())
        SEEN[name] = {"dimensions": parameter.dim(), "moved": moved, "decays": decays.get(id(parameter), [])}


yolo.Model.__init__ = construct_and_keep
torch_optimizer.register_optimizer_step_pre_hook(before_step)
torch_optimizer.register_optimizer_step_post_hook(after_step)
common = ["--data", FOLDER / "data.yaml", "--cfg", FOLDER / "model.yaml", "--hyp", FOLDER / "hyp.yaml", "--weights", ""]
common += ["--img-size", 64, "--epochs", 2, "--batch-size", 4, "--workers", 0, "--device", "cpu", "--project", FOLDER]
result = {}
leave_out_plots(PREFIX)
for name, options in json.loads(OPTIMIZERS.read_text()).items():
    for kept in (MODELS, BEGUN, SEEN):
        kept.clear()
    sys.argv = ["train.py", *map(str, common), *MORE, *options]
    runpy.run_module(f"{PREFIX}train", run_name="__main__")
    result[name] = dict(SEEN)
RESULT.write_text(json.dumps(result))
