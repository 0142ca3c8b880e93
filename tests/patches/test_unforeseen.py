"""A bug in the patch: the command ends in a message, never in a traceback."""

import shutil
import subprocess
import sys

import pytest

import apply_patch
from patches import command


@pytest.mark.parametrize("error", [RuntimeError("boom"), OSError(5, "boom"), RecursionError("boom")], ids=repr)
def test_a_bug_is_no_traceback(checkout, run, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(command, "plan_apply", fail)
    code, _, message = run()
    assert code == 2
    assert message.startswith(f"error: {type(error).__name__}: ")
    assert "please report it" in message


def test_a_reader_of_the_diff_that_has_seen_enough(checkout):
    line = f"{sys.executable} {apply_patch.__file__} {checkout} --diff | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_output_and_isolated_mode(checkout):
    line = f"cd / && {sys.executable} -I {apply_patch.__file__} {checkout} >&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "and models/yolo.py." in done.stderr


def test_an_empty_argument(capsys):
    assert apply_patch.main([""]) == 2
    assert "argument checkout: it is empty" in capsys.readouterr().err


def test_main_never_raises_on_any_mode(checkout):
    shutil.rmtree(checkout)
    for mode in ([], ["--check"], ["--diff"], ["--revert"], ["--json"], ["--check", "--verify"]):
        assert apply_patch.main([str(checkout), *mode]) == 2
