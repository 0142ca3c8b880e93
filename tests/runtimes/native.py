"""Builds the C++ examples of the documentation, with the libraries that CMake finds on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.runtimes.exported import MissingRuntimeError, run

MISSING = re.compile(r'configuration file provided by\s+"(\w+)"')
OPENCV = re.compile(r'Found OpenCV: .*found version "(\d+)\.(\d+)')
SOURCES = {"OpenCV": "Debian has it as libopencv-dev", "ncnn": "docs/deployment.md says how to build it"}


def built(folder: Path, code: str, cmake: str) -> tuple[Path, tuple[int, int]]:
    """Build a program from its C++ and its CMakeLists.txt in a new folder; return it, and the version of OpenCV.

    Raises:
        MissingRuntimeError: there is no CMake, no compiler, or a library that CMake does not find.
        AssertionError: the program cannot be built with what is there.
    """
    compilers = [os.environ.get("CXX", "c++"), "g++", "clang++"]
    if not shutil.which("cmake") or not any(map(shutil.which, compilers)):
        raise MissingRuntimeError("the C++ examples want CMake and a C++ compiler; Debian has them as cmake and g++")
    folder.mkdir()
    (folder / "detect.cpp").write_text(code, encoding="utf-8")
    (folder / "CMakeLists.txt").write_text(cmake, encoding="utf-8")
    configure = ["cmake", "-B", "build", "-DCMAKE_BUILD_TYPE=Release", "."]
    done = subprocess.run(configure, cwd=folder, capture_output=True, text=True)
    missing = MISSING.search(done.stderr)
    if missing:
        where = f"{SOURCES[missing[1]]}; or name its folder in CMAKE_PREFIX_PATH"
        raise MissingRuntimeError(f"CMake finds no {missing[1]} for C++: {where}")
    assert done.returncode == 0, done.stdout + done.stderr
    run("cmake", "--build", "build", cwd=folder)
    major, minor = OPENCV.search(done.stdout).groups()
    return folder / "build" / "detect", (int(major), int(minor))
