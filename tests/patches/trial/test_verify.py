"""`--verify` builds and runs the yamls where they were put."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from patches.install.checkout import Checkout
from patches.show import outcomes
from patches.trial import verify as verification
from patches.trial.probe import largest_error
from patches.trial.verify import verify
from tests.conftest import MINIHOST
from tests.warm_python import run_python

M0 = "models/yolov5-efficientvit.yaml"


@pytest.fixture
def only_m0(checkout, run, monkeypatch):
    """A patched checkout in which one yaml is enough."""
    run()
    monkeypatch.setattr(verification, "YAMLS", "yolov5-efficientvit.yaml")
    return checkout


@pytest.fixture
def warm_m0(only_m0, monkeypatch):
    """The same, where the probe runs in a fork that has torch imported already."""

    def run_in_fork(command, cwd, env, **_):
        assert command[0] == sys.executable
        return run_python(command[1:], cwd, env)

    forks = SimpleNamespace(run=run_in_fork, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(verification, "subprocess", forks)
    return only_m0


def test_each_yaml_is_built_and_run(checkout, run):
    code, out, _ = run("--verify", "--json")
    outcomes = json.loads(out)["verified"]
    assert code == 0
    assert [outcome["yaml"] for outcome in outcomes] == sorted(
        path.name for path in (MINIHOST.parents[1] / "models").glob("yolov5-efficientvit*.yaml")
    )
    first = next(outcome for outcome in outcomes if outcome["yaml"] == "yolov5-efficientvit.yaml")
    assert (first["backbone"], first["layers"], first["detect"], first["last"]) == (
        "EfficientViT_M0",
        [2, 3, 4],
        "Detect",
        20,
    )
    assert run("--check")[0] == 0, "nothing was left in the checkout"


def test_what_people_read(only_m0, run):
    assert "\nBuilt and ran yolov5-efficientvit.yaml.\n" in run("--check", "--verify")[2]
    code, _, message = run("--check", "--verify", "--verbose")
    assert code == 0
    assert (
        "Works: yolov5-efficientvit.yaml: EfficientViT_M0 holds layers [2, 3, 4], Detect is layer 20; 6,648" in message
    )


def test_thorough(warm_m0):
    (outcome,) = verify(Checkout(warm_m0), thorough=True)
    assert outcome["fuse_error"] < 1e-5


ONES = [torch.ones(1, 2), torch.ones(1, 3)]


def test_an_error_in_any_output_counts():
    assert largest_error([ONES[0], ONES[1] * 3], [ONES[0], ONES[1] * 2]) == 0.5
    assert largest_error([ONES[0], ONES[1]], [ONES[0], ONES[1] * 0]) == 1  # of nothing: absolute


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        ([ONES[0], ONES[1] * float("nan")], ONES, "an output after a step of training is not finite"),
        (ONES, [ONES[0], ONES[1] * float("inf")], "an output after a step of training is not finite"),
        (ONES[:1], ONES, r"shapes from \[\(1, 2\), \(1, 3\)\] to \[\(1, 2\)\]"),
        (ONES, ONES[:1], r"shapes from \[\(1, 2\)\] to \[\(1, 2\), \(1, 3\)\]"),
        ([ONES[0][:, :1]], ONES[:1], r"shapes from \[\(1, 2\)\] to \[\(1, 1\)\]"),
        ([], [], "an output after a step of training is missing"),
    ],
    ids=["NaN", "infinity", "one less", "one more", "another shape", "none"],
)
def test_outputs_that_cannot_be_compared_are_reported(found, expected, message):
    with pytest.raises(RuntimeError, match=message):
        largest_error(found, expected)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("models/yolo.py", "import copy", "import no_such_package.part", "Missing: no_such_package. Install it with: "),
        ("models/common.py", "import torch", "import no_such_package", "-m pip install package-of-another-name"),
        (
            "models/common.py",
            "import torch",
            "import torch.no_such_part",
            "Failed: models.yolo: ModuleNotFoundError: ",
        ),
        (M0, "EfficientViT_M0, []", "EfficientViT_M0, ['none.pth']", "Failed: yolov5-efficientvit.yaml: ValueError: "),
    ],
    ids=["missing package", "package of another name", "missing part of a package", "yaml that does not build"],
)
def test_what_does_not_run_is_reported(warm_m0, monkeypatch, name, old, new, message):
    monkeypatch.setitem(verification.PACKAGES, "no_such_package", "package-of-another-name")
    path = warm_m0 / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    (outcome,) = verify(Checkout(warm_m0))
    (line,) = outcomes([outcome], verbose=False)
    assert message in line


def test_exit_code_3(warm_m0, run):
    common = warm_m0 / "models" / "common.py"
    common.write_text("import no_such_package\n" + common.read_text())
    code, _, message = run("--check", "--verify")
    assert code == 3
    assert f"Missing: no_such_package. Install it with: {sys.executable} -m pip install no_such_package" in message


def test_a_process_that_gives_up(warm_m0, run):
    common = warm_m0 / "models" / "common.py"
    common.write_text("raise SystemExit(3)\n" + common.read_text())
    code, _, message = run("--check", "--verify")
    assert code == 3
    assert "Failed: models.yolo: SystemExit: 3" in message


def test_a_process_that_ends_without_an_answer(warm_m0):
    common = warm_m0 / "models" / "common.py"
    common.write_text("import os\nos._exit(7)\n" + common.read_text())
    (outcome,) = verify(Checkout(warm_m0))
    assert outcome["error"].endswith("ended with exit code 7: it said nothing")


def test_a_yaml_without_our_backbone(warm_m0):
    """A class of the host's own may have taken the name."""
    (warm_m0 / M0).write_text("backbone: [[-1, 1, Conv, [8, 3, 2]]]\nhead: [[-1, 1, Conv, [8]]]\n")
    (outcome,) = verify(Checkout(warm_m0))
    assert outcome["error"] == "it was built without a backbone of ours"


def test_a_process_that_hangs_is_ended(only_m0, monkeypatch):
    monkeypatch.setattr(verification, "TIMEOUT", 0.01)
    assert verify(Checkout(only_m0)) == [{"yaml": "models", "error": "they were not built and run within 0.01 seconds"}]


def test_verify_goes_with_apply_and_check_alone():
    done = subprocess.run(
        [sys.executable, "apply_patch.py", ".", "--revert", "--verify"],
        cwd=MINIHOST.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--verify does not go with --revert" in done.stderr
