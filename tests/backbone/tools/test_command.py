"""`python -m models.backbone`: what its help says, and that saying it needs no torch."""

import subprocess
import sys

import pytest

from models.backbone.__main__ import main
from tests import REPOSITORY

COMMANDS = ("list", "look", "move-over")
WITHOUT_TORCH = """
import runpy, sys
sys.modules.update(dict.fromkeys(("torch", "timm", "numpy", "yaml")))
runpy.run_module("models.backbone", run_name="__main__", alter_sys=True)
"""


def without_torch(*arguments):
    """Run the command where torch, timm, NumPy and PyYAML cannot be imported."""
    program = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    return subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join)
def test_help_needs_no_torch_and_gives_the_exit_codes(arguments):
    done = without_torch(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {' '.join(['python -m models.backbone', *arguments[:-1]])} [-h] ")
    assert "exit codes: 0 done; 1 failed, or nothing found; 2 wrong arguments; 130" in " ".join(done.stdout.split())


def test_help_names_each_command():
    lines = without_torch("--help").stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("    ") and line.split()[0] in COMMANDS] == [*COMMANDS]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["lst"], "invalid choice: 'lst'"),
        (["list", ""], "argument pattern: it is empty"),
        (["list", "a", "b"], "unrecognized arguments: b"),
        (["look", "best.pt"], "the following arguments are required: photo"),
        (["look", "best.pt", "a.jpg", "--cell", "1"], "argument --cell: expected 2 arguments"),
        (["look", "best.pt", "a.jpg", "--cell", "1", "y"], "argument --cell: invalid int value: 'y'"),
        (["look", "best.pt", "a.jpg", "--stage", "last"], "argument --stage: invalid int value: 'last'"),
        (["look", "best.pt", "a.jpg", "--img-size", "0"], "argument --img-size: it must be 1 to 8192 pixels, not '0'"),
        (["look", "best.pt", "a.jpg", "--img-size", "-640"], "argument --img-size: it must be 1 to 8192 pixels"),
        (["look", "best.pt", "a.jpg", "--img-size", "64000"], "argument --img-size: it must be 1 to 8192 pixels"),
        (["look", "best.pt", "a.jpg", "--img-size", "6²"], "argument --img-size: it must be 1 to 8192 pixels"),
        (["move-over"], "the following arguments are required: old, new"),
        (["move-over", "old.pt"], "the following arguments are required: new"),
        (["move-over", "old.pt", "new.pt", "--config", "x.yaml"], "unrecognized arguments: --config x.yaml"),
    ],
)
def test_wrong_arguments_need_no_torch(arguments, message):
    done = without_torch(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m models.backbone")
    assert message in done.stderr


@pytest.mark.parametrize(
    "arguments", [["list"], ["look", "best.pt", "a.jpg"], ["move-over", "old.pt", "new.pt"]], ids=" ".join
)
def test_a_missing_package_shows_only_where_a_command_runs(arguments):
    done = without_torch(*arguments)
    assert done.returncode == 1
    assert "torch" in done.stderr


def test_ctrl_c_ends_the_list_quietly(monkeypatch, capsys):
    from models.backbone.tools import list as command

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "all_rows", interrupt)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == ""
