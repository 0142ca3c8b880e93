"""A program that is run in a fork sees and answers what it does when Python is started for it."""

import os
import subprocess
import sys

import pytest

from tests.warm_python import run_python

SEEN = """
import json, os, sys
path = [os.path.abspath(entry) for entry in sys.path if not os.path.abspath(entry).startswith(sys.base_prefix)]
print(json.dumps([__name__, sys.argv, os.getcwd(), os.environ.get("OF_THIS_RUN"), path, sys.stdin.read()]))
print("told", file=sys.stderr)
"""


@pytest.fixture
def environment():
    return {**os.environ, "OF_THIS_RUN": "1", "PYTHONPATH": os.pathsep.join(("/first", "/second"))}


def both(arguments, cwd, environment, stderr=subprocess.PIPE):
    """Run a program in a fork, and by a Python of its own."""
    options = {"cwd": cwd, "env": environment, "text": True, "stdin": subprocess.DEVNULL}
    command = [sys.executable, *arguments]
    alone = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, **options)
    return run_python(arguments, cwd, environment, stderr=stderr), alone


@pytest.mark.parametrize(
    "arguments",
    [["-c", SEEN, "--option", "ä"], ["below/script.py", "--option"], ["-m", "below.script", "--option"]],
    ids=["text", "script", "module"],
)
def test_a_program_sees_the_same(tmp_path, environment, arguments):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "script.py").write_text(SEEN)
    found, expected = both(arguments, tmp_path, environment)
    assert expected.returncode == 0, expected.stderr
    assert (found.returncode, found.stdout, found.stderr) == (0, expected.stdout, expected.stderr)


@pytest.mark.parametrize(
    "text",
    ["raise SystemExit(3)", "raise SystemExit('no')", "raise SystemExit", "1 / 0", "import os; os._exit(7)", "abort()"],
)
def test_a_program_ends_the_same(tmp_path, environment, text):
    if text == "abort()":
        text = "import os, signal; print('said', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    found, expected = both(["-c", text], tmp_path, environment)
    assert (found.returncode, found.stdout) == (expected.returncode, expected.stdout)
    assert found.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_errors_go_between_the_output_on_request(tmp_path, environment):
    text = (
        "import sys; [print(number, file=sys.stderr if number % 2 else sys.stdout, flush=True) for number in range(9)]"
    )
    found, expected = both(["-c", text], tmp_path, environment, stderr=subprocess.STDOUT)
    assert (found.stdout, found.stderr) == (expected.stdout, expected.stderr)


def test_nothing_stays_for_the_next_program(tmp_path, environment):
    change = (
        "import os, sys, torch; os.environ['OF_THIS_RUN'] = sys.argv[0] = '2'; torch.changed = sys.path.append('/')"
    )
    assert run_python(["-c", change], tmp_path, environment).returncode == 0
    look = "import os, sys, torch; print(os.environ['OF_THIS_RUN'], sys.path[-1] != '/', hasattr(torch, 'changed'))"
    assert run_python(["-c", look], tmp_path, environment).stdout == "1 True False\n"
