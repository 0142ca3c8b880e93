"""A Python that is too old is told which one is needed, before it meets a line that it cannot read."""

import ast
import json
import shutil
import subprocess
import sys

import pytest

from tests import REPOSITORY
from tests.patches.install.test_transaction import tree

COMMANDS = {"apply_patch.py": ["apply_patch.py"], "patches.trial.survey": ["-m", "patches.trial.survey"]}
OLD = ("2.7", "3.4", "3.5", "3.6", "3.7")
# runs a command line of Python's own with another version number
FAKE = """
import runpy, sys
sys.version_info, (module, *sys.argv) = eval(sys.argv[1]), sys.argv[2:]
runpy.run_module(module, run_name="__main__") if module != "apply_patch.py" else runpy.run_path(module, run_name="__main__")
"""


def refused(command, checkout, version):
    before = tree(checkout)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True)
    message = done.stderr.decode()
    assert done.returncode == 2
    if "--json" in command:
        seen = json.loads(done.stdout.decode())
        assert (seen["exit_code"], seen["error"]["message"] in message) == (2, True)
    else:
        assert done.stdout == b""
    assert message.startswith(f"error: the patch needs Python 3.8 or later, and this is Python {version}. ")
    assert message.count("\n") == 1
    assert tree(checkout) == before


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 0, 0), (3, 7, 17, "final", 0)], ids=str)
@pytest.mark.parametrize("arguments", [[], ["--json", "--check"]], ids=str)
@pytest.mark.parametrize("name", COMMANDS)
def test_the_version_that_is_needed_is_reported(checkout, name, arguments, version):
    command = [sys.executable, "-c", FAKE, repr(version), name, name, str(checkout), *arguments]
    refused(command, checkout, f"{version[0]}.{version[1]}")


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize("name", COMMANDS)
def test_an_old_python_itself_tells_it(checkout, name, version):
    python = shutil.which(f"python{version}")
    if not python or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"no python{version} here")
    refused([python, "-B", *COMMANDS[name], str(checkout)], checkout, version)


@pytest.mark.parametrize("name", ["apply_patch.py", "patches/__init__.py"])
def test_old_pythons_can_read_what_they_run(name):
    """As far as today's Python knows what an old one reads."""
    source = (REPOSITORY / name).read_text(encoding="ascii")  # Python 2 takes nothing else without a declaration
    parsed = ast.parse(source, feature_version=(3, 4))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.Nonlocal, ast.AsyncFunctionDef)
    assert not [node for node in ast.walk(parsed) if isinstance(node, newer)]
    assert not [node for node in ast.walk(parsed) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full"])
def test_the_exit_code_stays_where_nobody_reads(checkout, redirection):
    command = f'"$@" {redirection}'
    fake = [sys.executable, "-c", FAKE, "(3, 6)", "apply_patch.py", "apply_patch.py", str(checkout)]
    done = subprocess.run(["sh", "-c", command, "sh", *fake], cwd=REPOSITORY, capture_output=True)
    assert done.returncode == 2
