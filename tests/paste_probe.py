"""Run inside a patched YOLOv5 checkout: writes a trained detector as the copied snippet would have saved it.

Use: python paste_probe.py TRAINED.pt OLD.pt
"""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))  # behind the host, whose models package is the one that counts
from tests import pasted

# the environment of the tests lets every torch read whole models
model = torch.load(sys.argv[1], map_location="cpu")["model"]
pasted.save(
    sys.argv[2],
    pasted.old_state(model),
    eps=1e-5,  # it was trained with ours
    class_name=type(model).__name__,
    **{name: getattr(model, name) for name in ("yaml", "names", "hyp", "stride")},
)
