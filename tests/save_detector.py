"""Run inside a YOLOv5 checkout: build a detector from a yaml and save it as train.py does.

Use: python save_detector.py PACKAGE_PREFIX MODEL.yaml WEIGHTS.pt
"""

import importlib
import sys

import torch

PREFIX, YAML, WEIGHTS = sys.argv[1:]
torch.manual_seed(0)
model = importlib.import_module(f"{PREFIX}models.yolo").Model(YAML)
model.nc = model.yaml["nc"]  # as train.py does
model.names = {number: f"class {number}" for number in range(model.nc)}
with torch.no_grad():  # let every residual branch count
    for name, value in model.model[0].state_dict().items():
        if name.endswith(("bn.weight", "running_var")):
            value.uniform_(0.5, 1.5)
        elif name.endswith(("bn.bias", "running_mean", "attention.bias")):
            value.normal_(0, 0.2)
torch.save({"epoch": -1, "model": model.half(), "ema": None, "optimizer": None}, WEIGHTS)
