"""Two processes with half of the batch each compute the gradients of one with all of it."""

import os
import subprocess
import sys

import pytest
import torch

from tests import REPOSITORY, TESTS
from tests.compare_maps import largest_error
from tests.warm_python import run_python

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package"),
    pytest.mark.skipif(sys.platform != "linux", reason="the probe forks"),
]


def compare(folder, *arguments, cwd, environment):
    command = [TESTS / "distributed_probe.py", folder, *arguments]
    done = run_python(command, cwd, environment, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    one, two = (torch.load(folder / f"{processes}.pt", weights_only=True) for processes in (1, 2))
    assert largest_error(two, one) < 1e-4  # float32 summed in another order


@pytest.mark.parametrize("frozen_epochs", [0, 1])
def test_the_backbone(tmp_path, frozen_epochs):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    arguments = ["models.backbone.efficientvit.network", str(frozen_epochs)]
    compare(tmp_path, *arguments, cwd=REPOSITORY, environment=environment)


@pytest.mark.training
def test_a_detector(patched, tmp_path):
    yaml = patched.root / "models" / "yolov5-efficientvit.yaml"
    module = f"{patched.prefix}models.yolo"
    compare(tmp_path, module, str(yaml), cwd=patched.import_path, environment=patched.environment)
