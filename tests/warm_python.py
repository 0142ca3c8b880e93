"""Runs Python programs in forks of one process that has imported torch and what else YOLOv5 needs.

These imports take longer than most programs that the tests run. A fork is still a process of its own: nothing that a
program imports, sets or leaves behind reaches the next one. Without a safe fork, on Windows and macOS, each program is
started anew.
"""

import atexit
import contextlib
import functools
import importlib
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

IMPORTS = ["torch", "torchvision", "timm", "cv2", "scipy.signal", "pandas", "seaborn", "matplotlib.pyplot", "requests"]


def run_python(arguments, cwd, environment, stderr=subprocess.PIPE):
    """Run `python ARGUMENTS`, which begin with a script, `-m` or `-c`, as `subprocess.run` would, and capture its text."""
    arguments = [str(argument) for argument in arguments]
    if sys.platform != "linux":
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)
    return server().run(arguments, str(cwd), environment, merge=stderr == subprocess.STDOUT)


@functools.lru_cache(maxsize=None)
def server():
    return Server()


class Server:
    """The process that imports once. It takes a line of JSON for each program, and answers with the exit code."""

    def __init__(self):
        environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore::FutureWarning"}  # as demo/host.py
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self.process.communicate)  # ends it

    def run(self, arguments, cwd, environment, merge):
        with tempfile.TemporaryDirectory() as folder:
            outputs = [os.path.join(folder, name) for name in ("stdout", "stdout" if merge else "stderr")]
            request = {"arguments": arguments, "cwd": cwd, "environment": environment, "outputs": outputs}
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            code = int(self.process.stdout.readline())
            stdout, stderr = (Path(path).read_text(encoding="utf-8", errors="replace") for path in outputs)
        return subprocess.CompletedProcess([sys.executable, *arguments], code, stdout, None if merge else stderr)


def serve():
    for name in IMPORTS:
        with contextlib.suppress(Exception):  # what a program needs and is not installed is an error there
            importlib.import_module(name)
    for request in sys.stdin:
        program = multiprocessing.get_context("fork").Process(target=become, kwargs=json.loads(request))
        program.start()
        program.join()
        print(program.exitcode, flush=True)


def become(arguments, cwd, environment, outputs):
    """Be what `python ARGUMENTS` would be, from here on."""
    for descriptor, path in enumerate([os.devnull, *outputs]):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    kind, *rest = arguments
    first = cwd if kind in ("-m", "-c") else os.path.dirname(os.path.abspath(kind))
    sys.path[:1] = [first, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    serve()
