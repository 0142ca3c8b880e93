"""The lock: held by another run, or not to be had on this file system."""

import errno
import json
import os
import subprocess
import sys
import types

import pytest

from patches.errors import PatchError
from patches.install import lock
from patches.install.lock import locked
from tests import REPOSITORY
from tests.patches.install.test_transaction import tree

NO_LOCKS = ["ENOTSUP", "EOPNOTSUPP", "ENOLCK", "ENOSYS", "EINVAL", "EBADF", "EISDIR", "EPERM", "EIO"]
HELD = ["EWOULDBLOCK", "EAGAIN", "EACCES"]
HOLD = """
import sys
from pathlib import Path
from patches.install.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def failing(name):
    def fail(*_):
        number = getattr(errno, name)
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture(params=["flock", "Windows"])
def lock_call(request, monkeypatch, tmp_path):
    """Replace the call that locks: that of POSIX, and that of Windows on its stand-in."""
    if request.param == "flock":
        if lock.fcntl is None:
            pytest.skip("needs flock")
        return lambda call: monkeypatch.setattr(lock.fcntl, "flock", call)
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock.tempfile, "gettempdir", lambda: str(tmp_path))
    windows = types.SimpleNamespace(LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", windows)
    return lambda call: setattr(windows, "locking", call)


@pytest.mark.parametrize("name", HELD)
def test_a_lock_that_is_held_is_a_second_run(checkout, run, lock_call, name):
    lock_call(failing(name))
    before = tree(checkout)
    for mode in ([], ["--revert"]):
        code, out, _ = run("--json", *mode)
        assert (code, json.loads(out)["error"]["kind"]) == (2, "second run")
        assert tree(checkout) == before


@pytest.mark.parametrize("name", NO_LOCKS)
def test_without_locks_the_run_goes_on_and_says_so(checkout, run, lock_call, name):
    original = tree(checkout)
    lock_call(failing(name))
    reason = os.strerror(getattr(errno, name))
    note = f"{checkout / 'models'} cannot be locked ({reason}): do not run this twice at the same moment"
    code, _, message = run()
    assert code == 0
    assert message.count(note) == 1
    assert run("--check")[0] == 0
    code, out, _ = run("--revert", "--json")
    assert (code, json.loads(out)["notes"]) == (0, [note])
    assert tree(checkout) == original


def test_a_stand_in_that_cannot_be_made_is_no_lock(checkout, run, monkeypatch, lock_call, tmp_path):
    monkeypatch.setattr(lock.tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    lock_call(lambda *_: None)
    code, _, message = run()
    assert code == 0
    assert ("cannot be locked (No such file or directory)" in message) == (lock.fcntl is None)


def test_the_file_is_closed_in_every_case(checkout, lock_call, monkeypatch):
    opened, closed, os_open, os_close = [], [], os.open, os.close

    def spy_open(*arguments, **options):
        opened.append(os_open(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(lock.os, "open", spy_open)
    monkeypatch.setattr(lock.os, "close", lambda handle: (closed.append(handle), os_close(handle)))
    for call in (lambda *_: None, failing("ENOLCK")):
        lock_call(call)
        with locked(checkout):
            assert len(opened) == len(closed) + 1
        assert opened == closed
    lock_call(failing("EAGAIN"))
    with pytest.raises(PatchError), locked(checkout):
        pass
    assert opened == closed
    assert len(opened) == 3


@pytest.mark.skipif(lock.fcntl is None, reason="needs flock")
def test_a_lock_of_another_process(checkout, run):
    command = [sys.executable, "-c", HOLD, str(checkout)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY) as holder:
        assert holder.stdout.readline() == b"held\n"
        code, _, message = run()
        assert code == 2
        assert f"another apply_patch.py is at work on {checkout} at this moment. Wait" in message
        holder.kill()
    code, _, message = run()
    assert code == 0, "the lock of a run that is killed is gone"
    assert "cannot be locked" not in message
