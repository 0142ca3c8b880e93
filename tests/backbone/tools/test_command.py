"""`python -m models.backbone`: what its help says, and that saying it needs no torch."""

import subprocess
import sys

import pytest

from models.backbone.__main__ import main
from tests import REPOSITORY

COMMANDS = ("list", "move-over")
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


@pytest.mark.parametrize("arguments", [["list"], ["move-over", "old.pt", "new.pt"]], ids=" ".join)
def test_a_missing_package_shows_only_where_a_command_runs(arguments):
    done = without_torch(*arguments)
    assert done.returncode == 1
    assert "torch" in done.stderr


def test_ctrl_c_ends_the_list_quietly(monkeypatch, capsys):
    from models.backbone.tools import list as command

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "lines", interrupt)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == ""
