"""Two processes with half of the batch each compute the gradients of one with all of it."""

import os
import subprocess
import sys

import pytest
import torch

from tests import REPOSITORY, TESTS
from tests.compare_maps import largest_error


def gradients(folder, processes, *arguments, cwd, environment):
    """Run the processes, and return the gradients of the first."""
    command = [sys.executable, str(TESTS / "distributed_probe.py")]
    running = [
        subprocess.Popen(
            [
                *command,
                str(rank),
                str(processes),
                str(folder / "store"),
                str(folder / f"{processes}{rank}.pt"),
                *arguments,
            ],
            cwd=cwd,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    for process in running:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    return torch.load(folder / f"{processes}0.pt", weights_only=True)


def compare(folder, *arguments, cwd, environment):
    one, two = (gradients(folder, count, *arguments, cwd=cwd, environment=environment) for count in (1, 2))
    assert largest_error(two, one) < 1e-4  # float32 summed in another order


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_the_backbone(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    compare(tmp_path, "models.backbone.efficientvit.network", cwd=REPOSITORY, environment=environment)


@pytest.mark.training
def test_a_detector(patched, tmp_path):
    yaml = patched.root / "models" / "yolov5-efficientvit.yaml"
    module = f"{patched.prefix}models.yolo"
    compare(tmp_path, module, str(yaml), cwd=patched.import_path, environment=patched.environment)
