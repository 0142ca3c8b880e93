"""Detectors that were trained with an earlier commit, whose files name modules that are gone, compute here as there."""

import json
import shutil
import subprocess
import sys

import pytest

from tests import TESTS
from tests.conftest import host
from tests.earlier import unpack

EARLIER = {  # what it changed, and the commit before
    "attention biases of another name": "1de4c92",
    "all modules in one folder": "d83f48145dfa",
    "no normalisation": "020a513",
}


@pytest.mark.newest_release
@pytest.mark.parametrize("what", EARLIER)
def test_move_over_brings_it_along(stock, patched, tmp_path, what):
    earlier = unpack(EARLIER[what], tmp_path)
    old = shutil.copytree(stock.root, tmp_path / "old" / stock.root.name)
    subprocess.run([sys.executable, "-B", earlier / "apply_patch.py", old], capture_output=True, check=True)
    probe = TESTS / "earlier_probe.py"
    done = host(old).python(probe, stock.prefix, "save", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    files = [tmp_path / "old.pt", tmp_path / "new.pt"]
    done = patched.python("-m", f"{patched.prefix}models.backbone", "move-over", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    done = patched.python(probe, patched.prefix, "compare", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["error"] < 1e-6
    assert (found["row"], found["names"]) == (["EfficientViT_M0", ["", 1, 16]], 3)
