"""Run inside a YOLOv5 checkout, in a process of its own: saves a detector and its output, or compares a moved one.

Use: python earlier_probe.py PACKAGE_PREFIX save|compare FOLDER
"""

import importlib
import json
import sys
from pathlib import Path

import torch
import yaml
from compare_maps import largest_error
from randomise import randomise

PREFIX, MODE, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
yolo = importlib.import_module(f"{PREFIX}models.yolo")
experimental = importlib.import_module(f"{PREFIX}models.experimental")

if MODE == "save":
    config = yaml.safe_load(Path(yolo.__file__).with_name("yolov5-efficientvit.yaml").read_text(encoding="utf-8"))
    config["backbone"][0][3] = ["", 1, 16]  # the strides are told by the third
    torch.manual_seed(0)
    model = yolo.Model(config, nc=3).eval()
    model.names, model.hyp = ["a", "b", "c"], {"lr0": 0.01}
    randomise(model.model[0])
    image = torch.rand(1, 3, 128, 192)
    with torch.no_grad():
        torch.save((image, model(image)[0]), FOLDER / "output.pt")
    torch.save({"epoch": -1, "model": model, "ema": None, "optimizer": None}, FOLDER / "old.pt")
else:
    image, expected = torch.load(FOLDER / "output.pt")
    found = experimental.attempt_load(str(FOLDER / "new.pt"), fuse=False).eval()
    with torch.no_grad():
        error = largest_error(found(image)[0], expected)
    result = {"error": error, "row": found.yaml["backbone"][0][2:], "names": len(found.names)}
    (FOLDER / "result.json").write_text(json.dumps(result))
