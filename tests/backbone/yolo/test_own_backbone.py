"""The worked example of docs/backbones.md, done to the letter on copies of this repository and of the miniature host."""

import os
import re
import shutil

import pytest

from tests import REPOSITORY
from tests.warm_python import run_python

PAGE = (REPOSITORY / "docs" / "backbones.md").read_text(encoding="utf-8")

USE = """
import sys, torch, yaml
from compare_maps import largest_error
from models.yolo import Net
row = yaml.safe_load(sys.argv[1])[0]
net = Net({"backbone": [row], "head": [[-1, 1, "Conv", [8]], [[4, -1], 1, "Concat", [1]]]}, 4).eval()
backbone = net.model[0]
image = torch.rand(1, 4, 64, 96)
assert net(image).shape == (1, backbone.channels[2] + 8, 2, 3)
maps = backbone(image)
assert [tuple(m.shape) for m in maps] == [
    (1, c, -(-64 // s), -(-96 // s)) for c, s in zip(backbone.channels, backbone.strides)
]
torch.stack([m.sum() for m in maps]).sum().backward()
assert all(p.grad is not None for p in backbone.parameters())
torch.save(net.model[0], "checkpoint.pt")
fused = backbone.fuse().fuse()(image)
assert largest_error(fused, maps) < 1e-5
assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())
"""

REOPEN = """
import torch
backbone = torch.load("checkpoint.pt", weights_only=False)
assert type(backbone).__module__ == "models.backbone.four_stages"
assert len(backbone(torch.rand(1, 4, 32, 32))) == 3
"""


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory):
    """Two checkouts, patched from a copy of this repository in which the page's steps were taken."""
    folder = tmp_path_factory.mktemp("own")
    ours = folder / "ours"
    for part in ("models", "patches"):
        shutil.copytree(REPOSITORY / part, ours / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "apply_patch.py", ours)
    code, line = blocks("python")
    (ours / "models" / "backbone" / "four_stages.py").write_text(code)
    with (ours / "models" / "backbone" / "registry.py").open("a") as registry:
        registry.write(line)
    hosts = [folder / "here", folder / "elsewhere"]
    for host in hosts:
        shutil.copytree(REPOSITORY / "tests" / "minihost", host, ignore=shutil.ignore_patterns("__pycache__"))
        run(ours, "apply_patch.py", host)
    return hosts


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}  # for compare_maps
    done = run_python(arguments, folder, environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_works_and_its_checkpoints_load_elsewhere(checkouts):
    here, elsewhere = checkouts
    (row,) = blocks("yaml")
    run(here, "-c", USE, row)
    shutil.move(here / "checkpoint.pt", elsewhere)
    run(elsewhere, "-c", REOPEN)
