"""Runs apply_patch.py as a user does, with one fault brought about in it: `python outcome_probe.py FAULT [arguments]`."""

import errno
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "apply_patch.py"
sys.path.insert(0, str(SCRIPT.parent))


def no_room(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device", "a file")


def unforeseen(*_, **__):
    raise RuntimeError("boom")


def interrupt(*_, **__):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs in the background ignore it
    os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does


def break_call(module, name, fault, first=1, last=None, starts=lambda *_: True):
    """Bring about a fault in the calls of a function from the `first` to the `last`; the first to count `starts`."""
    calls, original = [], getattr(module, name)

    def call(*arguments, **options):
        if calls or starts(*arguments):
            calls.append(arguments)
            if first <= len(calls) <= (last or len(calls)):
                fault()
        return original(*arguments, **options)

    setattr(module, name, call)


def of_the_host(_, target):
    return Path(target).name in ("train.py", "tf.py", "yolo.py")


def half_way(fault):
    """Let only one file of the host be replaced, so that it cannot be put back either."""
    break_call(os, "replace", fault, 2, starts=of_the_host)


def in_planning(fault):
    from patches import command

    for name in ("plan_apply", "plan_revert"):
        break_call(command, name, fault)


FAULTS = {
    "none": lambda: None,
    "unforeseen in planning": lambda: in_planning(unforeseen),
    "interrupted in planning": lambda: in_planning(interrupt),
    "disk full before anything is changed": lambda: break_call(os, "fsync", no_room, 1, 1),
    "disk full, all put back": lambda: break_call(os, "replace", no_room, 2, 2),
    "unforeseen in writing, all put back": lambda: break_call(os, "replace", unforeseen, 2, 2),
    "interrupted in writing, all put back": lambda: break_call(os, "replace", interrupt, 2, 2),
    "half written": lambda: half_way(no_room),
    "unforeseen in writing, and again": lambda: half_way(unforeseen),
    "interrupted in writing, and again": lambda: half_way(interrupt),
    "verify: the model does not run": lambda: None,
    "verify: unforeseen": lambda: break_call(subprocess, "run", unforeseen),
    "verify: no process": lambda: break_call(subprocess, "run", no_room),
    "verify: interrupted": lambda: break_call(subprocess, "run", interrupt),
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    sys.argv[1:] = sys.argv[2:]
    sys.argv[0] = str(SCRIPT)
    runpy.run_path(str(SCRIPT), run_name="__main__")
