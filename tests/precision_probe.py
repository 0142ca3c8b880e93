"""Run inside a YOLOv5 checkout: a whole detector on a pretended GPU in half precision, and in mixed precision on the CPU.

Use: python precision_probe.py PACKAGE_PREFIX MODEL.yaml HYP.yaml RESULT.json

"pretended": what the detector gives in training, and fused in eval mode, as [device, dtype, *shape] of each tensor.
"losses": of each step in float32, then in bfloat16 by autocast; "finite": whether every gradient was.
"""

import copy
import importlib
import json
import sys
from pathlib import Path

import torch
import yaml
from pretended_gpu import pretended
from torch._subclasses.fake_tensor import FakeTensorMode

PREFIX, YAML, HYP, RESULT = sys.argv[1:]
sys.modules["thop"] = None  # with it, the host counts the operations of each model, which takes longer than to build it
Model = importlib.import_module(f"{PREFIX}models.yolo").Model
ComputeLoss = importlib.import_module(f"{PREFIX}utils.loss").ComputeLoss


def run_pretended(model):
    mode = FakeTensorMode()
    model = pretended(model, mode, torch.float16)
    with mode, torch.no_grad():
        maps = model(torch.zeros(2, 3, 96, 128, device="cuda", dtype=torch.float16))
    return [[m.device.type, str(m.dtype), *m.shape] for m in maps]


def train(model, enabled):
    """Return the losses of a few steps, and whether all gradients were finite."""
    model = copy.deepcopy(model).train()
    compute_loss = ComputeLoss(model)
    image = torch.rand(2, 3, 128, 96, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([[0, 1, 0.5, 0.5, 0.4, 0.6], [1, 3, 0.3, 0.6, 0.3, 0.3]])  # image, class, box
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses, finite = [], True
    for _ in range(10):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = compute_loss(model(image), targets)[0].sum()
        optimizer.zero_grad()
        loss.backward()
        finite &= all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
        optimizer.step()
        losses.append(float(loss))
    return losses, finite


torch.manual_seed(0)
model = Model(YAML)
model.hyp = yaml.safe_load(Path(HYP).read_text(encoding="utf-8"))
model.nc, model.gr = model.yaml["nc"], 1.0  # as train.py does
maps = run_pretended(model.train())
full, mixed = train(model, False), train(model, True)
fused = copy.deepcopy(model).eval().fuse()
fused.model[-1].training = True  # Detect's grids and anchors are the host's own matter; its maps are those of training
pretence = {"training": maps, "fused": run_pretended(fused)}
result = {"pretended": pretence, "losses": [full[0], mixed[0]], "finite": full[1] and mixed[1]}
Path(RESULT).write_text(json.dumps(result))
