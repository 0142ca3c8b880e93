"""Runs the commands of a YOLOv5 checkout of any release, each in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Sequence

import matplotlib


class Host:
    """A checkout: a clone, or the folder of the pip package.

    Args:
        root: the folder with train.py and models/.
        config: a folder for YOLOv5's settings, which receives the font that YOLOv5 would otherwise download.
    """

    def __init__(self, root: Path, config: Path) -> None:
        self.root = root.resolve()
        self.is_package = (root / "__init__.py").is_file()
        self.import_path = self.root.parent if self.is_package else self.root
        self.prefix = f"{root.name}." if self.is_package else ""
        config.mkdir(parents=True, exist_ok=True)
        fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
        shutil.copyfile(fonts / "DejaVuSans.ttf", config / "Arial.ttf")
        paths = (str(self.import_path), str(self.root), os.environ.get("PYTHONPATH"))
        self.environment = {
            **os.environ,
            "YOLOV5_CONFIG_DIR": str(config.resolve()),
            "YOLO_CONFIG_DIR": str(config.resolve()),
            "MPLBACKEND": "agg",
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",  # releases from before torch 2.6 need it to read checkpoints
            "WANDB_MODE": "disabled",
            "YOLO_OFFLINE": "true",
            "YOLOv5_AUTOINSTALL": "false",
            "PYTHONWARNINGS": "ignore::FutureWarning",  # about names of torch that YOLOv5 uses in every step
            # with the root, because the pip package 6.1.9 imports some of its modules as a clone does
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }

    @property
    def val_module(self) -> str:
        """The module that validates: `val`, or `test` in v5.0."""
        return "val" if (self.root / "val.py").is_file() else "test"

    def run(self, module: str, arguments: Sequence[object]) -> str:
        """Run `train`, `val`, `detect` or another module, print its output, and return it.

        Raises:
            SystemExit: the command failed.
        """
        process = self.start(module, arguments, subprocess.PIPE)
        output = bytearray()
        with process:
            assert process.stdout
            # not by lines, because progress bars redraw one line
            while chunk := os.read(process.stdout.fileno(), 65536):
                output += chunk
                sys.stdout.buffer.write(chunk)
                sys.stdout.flush()
        if process.returncode:
            raise SystemExit(
                f"{self.prefix}{module} {' '.join(map(str, arguments))} failed with exit code {process.returncode}"
            )
        return output.decode(errors="replace")

    def start(self, module: str, arguments: Sequence[object], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a module, with its output to a pipe or a file, and return the process."""
        command = [sys.executable, "-m", self.prefix + module, *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=self.import_path, env=self.environment, stdout=output, stderr=subprocess.STDOUT
        )


def scores(printed: str) -> list[float]:
    """Return precision, recall, mAP50 and mAP50-95 over all classes, from the last such row in YOLOv5's output."""
    row = r"^\s*all" + r"\s+([\d.e+-]+)" * 6 + r"\s*$"  # the first two count images and instances
    return [float(score) for score in re.findall(row, printed, re.MULTILINE)[-1][2:]]
