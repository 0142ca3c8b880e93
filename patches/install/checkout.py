"""A YOLOv5 checkout on disk, and the text of its files."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from .. import PROJECT
from ..errors import PatchError

HOST_FILE = "models/yolo.py"
STAGED = f".{PROJECT}-new"  # suffix of a file that is to replace its target
PACKAGE_IMPORT = re.compile(rb"^from (?:\w+\.models|)\.\w+ import", re.MULTILINE)


@dataclass(frozen=True)
class Checkout:
    """The folder that holds YOLOv5's models/, in a clone or in the pip package."""

    root: Path

    @property
    def is_package(self) -> bool:
        """Whether this is the pip package, whose modules are imported as `yolov5.models` or `.`."""
        return (self.root / "__init__.py").is_file() and bool(PACKAGE_IMPORT.search(self.read(HOST_FILE) or b""))

    def path(self, name: str) -> Path:
        """Return the path of a file, with links resolved.

        Raises:
            PatchError: a link leads to itself, or out of the checkout, where writing would change another project.
        """
        try:
            path = (self.root / name).resolve()
            is_circle = leads_in_a_circle(self.root / name)
        except (OSError, RuntimeError):
            is_circle = True
        if is_circle:
            raise PatchError(
                "link to itself",
                f"{self.root / name} is a link that leads round in a circle. Remove it and run this again.",
            )
        if self.root.resolve() not in path.parents:
            raise PatchError(
                "link out of the checkout",
                f"{self.root / name} lies behind a link that leads out of the checkout, to {path}, so patching it "
                "would change another project. Replace the link with a copy of its target and run this again.",
            )
        return path

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None if there is none.

        Raises:
            PatchError: it exists, but cannot be read, or is no file.
        """
        path = self.path(name)
        try:
            kind = path.stat().st_mode
            if stat.S_ISREG(kind):
                return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if (self.root / name).is_symlink():
                raise dangling_link(self.root / name) from None
            return None
        except OSError as error:
            raise PatchError(
                "cannot read", f"{path} cannot be read: {error.strerror}. Make it readable and run this again."
            ) from error
        raise PatchError("not a file", f"{path} is {kind_of(kind)}, not a file. Move it away and run this again.")

    def links(self, names: Sequence[str]) -> dict[str, str]:
        """Return the names that are links to the file of another name, with that name.

        models/yolo.py always counts as the file, never as the link.
        """
        root = os.path.realpath(self.root)
        targets = {name: os.path.realpath(os.path.join(root, name)) for name in names}
        is_link = {name: target != os.path.normpath(os.path.join(root, name)) for name, target in targets.items()}
        files: dict[str, str] = {}
        for name in sorted(names, key=lambda name: (name != HOST_FILE, is_link[name])):
            if os.path.isfile(targets[name]):
                files.setdefault(targets[name], name)
        return {name: files[target] for name, target in targets.items() if files.get(target, name) != name}

    def require_folder(self, name: str) -> None:
        """Check that a folder of ours is a folder, or does not exist yet.

        Raises:
            PatchError: it is something else; the message says what.
        """
        path = self.root / name
        try:
            kind = path.stat().st_mode
            self.path(name)  # raises for a link out of the checkout
        except FileNotFoundError:
            if path.is_symlink():
                raise dangling_link(path) from None
            return
        except OSError as error:
            self.path(name)  # raises for a link to itself
            raise PatchError(
                "cannot read", f"{path} cannot be looked into: {error.strerror}. Make it readable and run this again."
            ) from error
        if not stat.S_ISDIR(kind):
            raise PatchError(
                "not a folder",
                f"{path} is {kind_of(kind)}, not a folder, and our package of that name would take its place. Move it "
                "away and run this again.",
            )


def kind_of(mode: int) -> str:
    """Return in words what a path is, by its `st_mode`."""
    words = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return words.get(stat.S_IFMT(mode), "a device")


def dangling_link(path: Path) -> PatchError:
    """Return the error about a link whose target does not exist."""
    return PatchError(
        "dangling link",
        f"{path} is a link to {os.readlink(path)}, and nothing is there. Remove the link and run this again.",
    )


def regular_files(folder: Path, pattern: str) -> list[Path]:
    """Return the matching files and links to files, sorted.

    Hidden files, such as lock files of editors, are left out: no import and no yaml can name them. So are folders,
    dangling links and named pipes.
    """
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith(".") and os.path.isfile(path))


def locate(path: Path) -> Checkout:
    """Find the checkout that a user means by `path`: a clone, the pip package's folder, or its parent folder.

    Raises:
        PatchError: there is no models/yolo.py, or the path cannot be read.
    """
    try:
        for root in (path, path / "yolov5"):
            if (root / HOST_FILE).is_file():
                return Checkout(root)
        there = path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            message = (
                f"{path} cannot be looked into, because its name is too long. Give the folder that holds train.py."
            )
            raise PatchError("no checkout", message) from error
        raise PatchError(
            "cannot read", f"{path} cannot be looked into: {error.strerror}. Make it readable and run this again."
        ) from error
    if not there:
        raise PatchError(
            "no checkout",
            f"{path} does not exist. Give the folder of a YOLOv5 checkout, the one that holds train.py.",
        )
    raise PatchError(
        "no checkout",
        f"{path} holds no {HOST_FILE}, so it is not a YOLOv5 checkout. Give the folder that holds train.py and "
        "models/.",
    )


def leads_in_a_circle(path: Path) -> bool:
    """Whether a link on the way to a file leads to itself, which `resolve()` no longer refuses since Python 3.13."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def decode(content: bytes, filename: str) -> tuple[str, str]:
    """Return a Python file's text with its line ends, and its encoding, which is utf-8-sig for UTF-8 with a BOM.

    Raises:
        PatchError: the bytes are not text in the encoding that the file declares.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = content.decode(encoding)
        if text.encode(encoding) != content:  # some encodings have two byte sequences for one character
            raise ValueError(f"its {encoding} could not be written back byte for byte")
        return text, encoding
    except (SyntaxError, ValueError, LookupError, TypeError) as error:
        raise PatchError(
            "not text", f"{filename} is not readable text ({error}). Restore the file and run this again."
        ) from error
