"""A run that is killed, or whose disk is full, leaves a checkout that works, and the next run completes it."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

import apply_patch
from tests import TESTS
from tests.conftest import MINIHOST
from tests.patches.install.test_transaction import tree


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_call_to_the_system(tmp_path):
    """Apply, upgrade and revert, each killed in front of every call to the system that it makes."""
    script = TESTS / "kill_probe.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    *faults, last = done.stdout.splitlines()
    assert faults == []
    word, kills = last.split()
    assert word == "killed"
    assert int(kills) >= 200


def fill(free):
    """Let writing fail once `free` bytes have been written."""
    left = free

    def write(original, content):
        nonlocal left
        left -= len(content)
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(content)

    return write


@pytest.mark.parametrize("free", [0, 1_000, 10_000, 40_000])
def test_a_disk_that_fills_up(checkout, run, monkeypatch, free):
    """Stands for a small disk where none can be mounted: whatever is written beyond `free` bytes fails."""
    import builtins

    before, write, original_open = tree(checkout), fill(free), open

    def opened(path, mode="r", *arguments, **options):
        file = original_open(path, mode, *arguments, **options)
        if "w" not in mode:
            return file
        wrapped = Wrapped(file)
        wrapped.write = lambda content: write(file.write, content)
        return wrapped

    monkeypatch.setattr(builtins, "open", opened)
    code, _, message = run()
    monkeypatch.undo()
    assert code == 2
    assert "No space left on device. Nothing has been changed" in message
    assert tree(checkout) == before
    assert run()[0] == 0


class Wrapped:
    """A file whose write() can be replaced."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_disk_of_100_kilobytes(tmp_path):
    """A real one, in a namespace of mounts of its own, where the system lets us."""
    script = f"""
mount -t tmpfs -o size=100k none {tmp_path} && cp -r {MINIHOST} {tmp_path}/host && rm -rf {tmp_path}/host/models/__pycache__ || exit 77
cp -r {tmp_path}/host /tmp/host.$$ && {sys.executable} {apply_patch.__file__} {tmp_path}/host; code=$?
diff -r {tmp_path}/host /tmp/host.$$ && echo unchanged; rm -rf /tmp/host.$$; exit $code
"""
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode not in (0, 2, 3):
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert done.returncode == 2
    assert "No space left on device. Nothing has been changed" in done.stderr
    assert done.stdout == "unchanged\n"
