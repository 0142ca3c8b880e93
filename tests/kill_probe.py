"""Kills runs of the patch at each of their calls to the system, and looks at what they leave.

Use: python kill_probe.py WORKING_FOLDER. Prints the number of runs that were killed, and a line for each fault.
A process of its own, because it forks: nothing here may start a thread.
"""

import contextlib
import importlib
import io
import os
import shutil
import signal
import sys
from pathlib import Path

import torch  # noqa: F401 - before the forks, so that they need not
import yaml  # noqa: F401

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

import apply_patch  # noqa: E402
from patches.install import payload  # noqa: E402
from patches.install.transaction import STAGED  # noqa: E402
from tests.patches.install.test_apply_patch import MINIHOST, make_old, upgraded  # noqa: E402

CALLS = ["open", "fsync", "chmod", "chown", "replace", "rename", "mkdir", "unlink", "rmdir"]
STOCK = {"backbone": [[-1, 1, "Conv", [8]], [-1, 1, "C3", [8]]], "head": [[[-1, 0], 1, "Concat", [1]]]}


def forked(action):
    """Run an action in a fork of this process, and return how the fork ended."""
    child = os.fork()
    if not child:
        try:
            action()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def quietly(*arguments):
    with contextlib.redirect_stderr(io.StringIO()):
        assert apply_patch.main(list(arguments)) == 0


def killed_at(turn, *arguments):
    """Run the patch and kill it in front of its `turn`-th call to the system; return whether it got there."""

    def action():
        calls = 0

        def counted(original):
            def call(*args, **options):
                nonlocal calls
                calls += 1
                if calls == turn:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **options)

            return call

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        quietly(*arguments)

    return forked(action) == signal.SIGKILL


def build_stock_model(checkout):
    """Import the checkout's models/yolo.py and build a model of its own modules."""
    os.chdir(checkout)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(checkout))
    for name in [name for name in sys.modules if name.split(".")[0] == "models"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    importlib.import_module("models.yolo").Net(STOCK)


def small_project(folder):
    """Return a copy of what is installed with the modules alone that a stock model needs, and one yaml.

    Each file more is a dozen more runs of the same kind.
    """
    needed = [
        "__init__.py",
        "contract.py",
        "frozen.py",
        "imported_twice.py",
        "registry.py",
        "yolo/*.py",
        "checkpoints/*.py",
        "../yolov5-efficientvit.yaml",
    ]
    for pattern in needed:
        for path in (REPOSITORY / "models" / "backbone").glob(pattern):
            copy = folder / path.resolve().relative_to(REPOSITORY)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    return folder


def main():
    folder = Path(sys.argv[1])
    payload.OUR_ROOT, payload.require_whole = small_project(folder / "project"), lambda ours: None
    original, patched, old = folder / "original", folder / "patched", folder / "old"
    for copy in (original, patched, old):
        shutil.copytree(MINIHOST, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for copy in (patched, old):
        quietly(str(copy))  # not in a fork: what the patch remembers of our files, the forks need not find out again
    make_old(old)
    kills = 0
    for start, arguments, end in [(original, [], patched), (old, [], patched), (patched, ["--revert"], original)]:
        turn = 0
        while True:
            turn += 1
            work = folder / "work"
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(start, work)
            if not killed_at(turn, str(work), *arguments):
                break
            kills += 1
            if forked(lambda work=work: build_stock_model(work)):
                print(f"FAULT {start.name} {arguments}, call {turn}: the stock model does not build")
            failed = forked(lambda work=work, arguments=arguments: quietly(str(work), *arguments))
            if failed or upgraded(work) != upgraded(end):
                print(f"FAULT {start.name} {arguments}, call {turn}: the next run does not complete it")
            if any(STAGED in path.name for path in work.rglob("*")):
                print(f"FAULT {start.name} {arguments}, call {turn}: files are left over")
        if upgraded(work) != upgraded(end):
            print(f"FAULT {start.name} {arguments}: the run that was not killed did not complete")
    print(f"killed {kills}")


if __name__ == "__main__":
    main()
