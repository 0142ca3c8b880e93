"""Run inside a patched YOLOv5 checkout, in a process of its own: moves a detector over and compares, as JSON.

Use: python move_probe.py PACKAGE_PREFIX YAML FOLDER
"""

import copy
import importlib
import json
import sys
from pathlib import Path

import torch
from compare_maps import largest_error
from randomise import randomise

sys.path.append(str(Path(__file__).parents[1]))  # behind the host, whose models package this is to be
PREFIX, CONFIG, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
yolo = importlib.import_module(f"{PREFIX}models.yolo")
experimental = importlib.import_module(f"{PREFIX}models.experimental")
command = importlib.import_module(f"{PREFIX}models.backbone.__main__")
pasted = importlib.import_module("tests.pasted")

torch.manual_seed(0)
model = yolo.Model(CONFIG, nc=3)
randomise(model.model[0])
model.model[-1].anchors *= 1.25  # as the search for anchors leaves them
if hasattr(model.model[-1], "anchor_grid") and isinstance(model.model[-1].anchor_grid, torch.Tensor):
    model.model[-1].anchor_grid *= 1.25

old, new = FOLDER / "old.pt", FOLDER / "new.pt"
half = copy.deepcopy(model).half()
pasted.save(
    old,
    pasted.old_state(half),
    class_name=type(model).__name__,
    yaml=model.yaml,
    names={0: "a", 1: "b", 2: "c"},
    hyp={"lr0": 0.01},
    stride=model.stride,
)
code = command.main(["move-over", str(old), str(new)])

expected = copy.deepcopy(half).float().eval()
for module in expected.model[0].modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.eps = 1e-3
found = experimental.attempt_load(str(new))
image = torch.rand(1, 3, 96, 160)
with torch.no_grad():
    error = largest_error(found(image)[0], expected(image)[0])
names = found.names
result = {
    "code": code,
    "error": error,
    "norms left": sum(isinstance(module, torch.nn.BatchNorm2d) for module in found.model[0].modules()),
    "names": list(names.values() if isinstance(names, dict) else names),
    "nc": found.nc,
    "strides": found.stride.tolist(),
}
(FOLDER / "result.json").write_text(json.dumps(result))
