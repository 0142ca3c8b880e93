"""Reads and writes the files of move_over.py and look.py, with an error message for each way this can fail."""

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
# Texts in a model yaml that are harmless when YOLOv5 evaluates them: a word, a layer or an activation of PyTorch.
HARMLESS = re.compile(r"\w*|(torch\.)?nn\.\w+(\([\w.=, ]*\))?")


def require_file(path: Path, advice: str) -> None:
    """Check that a file can be read.

    Raises:
        ValueError: it cannot; the message ends with `advice`.
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
    """Return the content of a yaml file; bytes that are not UTF-8 are dropped, as in YOLOv5.

    Raises:
        ValueError: there is no such file, or it is no yaml.
    """
    require_file(path, CFG_ADVICE)
    try:
        return yaml_format.safe_load(path.read_text(encoding="utf-8", errors="ignore"))
    except Exception as error:  # PyYAML raises its own errors, and those of Python's types
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no yaml ({type(error).__name__}: {reason}); {CFG_ADVICE}") from error


def require_harmless(yaml: dict[str, Any], host: Any, source: str) -> None:
    """Check that a yaml from an untrusted file runs no code when YOLOv5 builds it.

    YOLOv5 evaluates every text in a row, and calls what the third entry names.

    Args:
        yaml: the content of the yaml.
        host: YOLOv5's models/yolo.py, whose names the texts may use.
        source: the file, for the message.

    Raises:
        ValueError: a text is more than a word or a layer, or a row names something that is no layer.
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
    """Whether the host knows a row's name as a layer, or not at all; YOLOv5 itself refuses unknown names."""
    if not HARMLESS.fullmatch(name) or "(" in name:
        return False
    names = nn if "." in name else host
    found = getattr(names, name.rpartition(".")[-1], getattr(builtins, name, None))
    return found is None or (isinstance(found, type) and issubclass(found, nn.Module))


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Create a file before the work for it starts, so that wrong paths fail early; delete it if the work fails.

    Raises:
        ValueError: the file exists, or cannot be created.
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
        ValueError: it cannot be written.
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
