"""The files that move_over.py reads and writes, and what to tell for each way in which that can fail."""

from __future__ import annotations

import builtins
import io
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Iterator

import torch
import yaml as yaml_format
from torch import nn

CFG_ADVICE = "give the model yaml that the detector was trained with as --cfg"
# Texts in a model yaml that do nothing when YOLOv5 evaluates them: a word, and a layer or an activation of PyTorch.
HARMLESS = re.compile(r"\w*|(torch\.)?nn\.\w+(\([\w.=, ]*\))?")


def require_file(path: Path, advice: str) -> None:
    """Do nothing for a file that can be read.

    Raises:
        ValueError: the path is no such file; the message ends in the advice.
    """
    try:
        if path.is_file():
            path.open("rb").close()
            return
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else ""
        what = what or f"does not exist, seen from {Path.cwd()}"
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    raise ValueError(f"{path} {what}; {advice}")


def read_yaml(path: Path) -> Any:
    """Return what a yaml holds; bytes that are not UTF-8 are left out, as YOLOv5 does, which meets them in comments.

    Raises:
        ValueError: there is no such file, or it is no yaml.
    """
    require_file(path, CFG_ADVICE)
    try:
        return yaml_format.safe_load(path.read_text(encoding="utf-8", errors="ignore"))
    except Exception as error:  # PyYAML has its own errors, and passes on those of Python's types
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no yaml ({type(error).__name__}: {reason}); {CFG_ADVICE}") from error


def require_harmless(yaml: dict[str, Any], host: Any, source: str) -> None:
    """Refuse a yaml out of somebody else's file that would run code of its own when YOLOv5 builds it.

    YOLOv5 evaluates every text in a row, and calls what its third entry names.

    Args:
        yaml: the yaml.
        host: YOLOv5's models/yolo.py, in whose names the texts are evaluated.
        source: the file, for the message.

    Raises:
        ValueError: a text is more than a word, or a row names something other than a layer.
    """
    rows = [row for part in ("backbone", "head") for row in yaml.get(part) or [] if isinstance(row, (list, tuple))]
    layers = [row[2] for row in rows if len(row) > 2 and isinstance(row[2], str)]
    wrong = [text for text in texts_in(yaml) if not HARMLESS.fullmatch(text)]
    wrong += [name for name in layers if not is_layer(name, host)]
    if wrong:
        raise ValueError(
            f"the yaml in {source} holds {wrong[0]!r}, which YOLOv5 would run as code; {CFG_ADVICE}, if you trust it"
        )


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in nested dicts, lists and tuples."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from texts_in(part)
    elif isinstance(value, str):
        yield value


def is_layer(name: str, host: Any) -> bool:
    """Whether a row's name means a layer to the host, or nothing, which YOLOv5 refuses by itself."""
    if not HARMLESS.fullmatch(name) or "(" in name:
        return False
    names = nn if "." in name else host
    found = getattr(names, name.rpartition(".")[-1], getattr(builtins, name, None))
    return found is None or (isinstance(found, type) and issubclass(found, nn.Module))


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Make a file, before the work that it is for, so that it can be made; it is gone again if that work fails.

    Raises:
        ValueError: it exists, or cannot be made.
    """
    try:
        file = open(path, "xb")
    except FileExistsError as error:
        raise ValueError(f"{path} exists already; name another file to write") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{path} cannot be written, because {path.parent} is no folder; make it first") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{path} cannot be written ({reason}); name a file in a folder that you may write to"
        ) from error
    try:
        with file:
            yield file
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def save(checkpoint: dict[str, Any], file: BinaryIO) -> None:
    """Write a checkpoint into an open file.

    Raises:
        ValueError: there is no room for it.
    """
    content = io.BytesIO()
    torch.save(checkpoint, content)
    try:
        file.write(content.getbuffer())
        file.flush()
    except OSError as error:
        raise ValueError(
            f"{file.name} cannot be written ({error.strerror}); make room, or name another place"
        ) from error
