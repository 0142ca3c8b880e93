"""`make gpu` on a machine without a GPU: the same script with the smallest sizes, so that it works when there is one."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.host import RELEASE
from tests import REPOSITORY

STEPS = ["training", "inference", "attention", "classifier", "latency"]


@pytest.mark.newest_release
@pytest.mark.usefixtures("real_checkout")
def test_the_benchmarks_run(tmp_path):
    pytest.importorskip("timm")
    if not (REPOSITORY / RELEASE).is_dir():
        pytest.skip(f"{RELEASE} is not there; `make test` unpacks it")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "hosts").symlink_to(REPOSITORY / "build" / "hosts")
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny", "--out", tmp_path]
    done = subprocess.run(
        [*map(str, command), "--steps", *STEPS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    logs = "".join((tmp_path / f"{step}.log").read_text()[-2000:] for step in STEPS)
    assert done.returncode == 0, done.stdout + done.stderr + logs
    rows = {step: json.loads((tmp_path / f"{step}.json").read_text())["rows"] for step in STEPS}
    assert all(rows.values())
    assert "Error" not in json.dumps(rows)
    for row in rows["inference"]:
        assert row["agrees"]
    for row in rows["attention"]:
        assert all(error is None or error < 1e-5 for error in row["errors"].values())
    assert "training: dry run on the CPU" in (tmp_path / "tables.md").read_text()
