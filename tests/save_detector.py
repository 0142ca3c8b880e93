"""Run inside a YOLOv5 checkout: build a detector from a yaml and save it as train.py does.

Use: python save_detector.py PACKAGE_PREFIX MODEL.yaml WEIGHTS.pt
"""

import importlib
import sys

import torch
from randomise import randomise

PREFIX, YAML, WEIGHTS = sys.argv[1:]
torch.manual_seed(0)
model = importlib.import_module(f"{PREFIX}models.yolo").Model(YAML)
model.nc = model.yaml["nc"]  # as train.py does
model.names = {number: f"class {number}" for number in range(model.nc)}
randomise(model.model[0])
torch.save({"epoch": -1, "model": model.half(), "ema": None, "optimizer": None}, WEIGHTS)
