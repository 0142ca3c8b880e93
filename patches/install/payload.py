"""The files that a checkout receives: the backbone package, and the model yamls with modules that the host has."""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Mapping, NamedTuple, Sequence

from ..errors import PatchError
from ..source.parse_loop import FUNCTION
from ..source.syntax import name_of, walk
from .checkout import Checkout, regular_files

OUR_ROOT = Path(__file__).resolve().parents[2]
PATTERNS = (
    "models/backbone/*.py",
    "models/backbone/*/*.py",
    "models/yolov5-efficientvit*.yaml",
    "models/yolov5-timm*.yaml",
    "models/segment/yolov5-efficientvit*.yaml",
)
PACKAGE = "models/backbone"
MODEL = "models/yolov5-efficientvit.yaml"

# Without these lines, a formatter that is run on the whole checkout would edit our files. yapf reads only the first and
# the last line of a comment.
HEADER = b"""# Installed by yolov5-efficientvit. The next lines tell formatters and linters to leave this file as it is.
# fmt: off
# autopep8: off
# isort: skip_file
# ruff: noqa
# yapf: disable
"""
SPPF, C3, DETECT = "SPPF, [1024, 5]", " C3, [", "Detect, [nc, anchors]"  # as our yamls spell them
YAML_KEYS = {"nc", "anchors", "depth_multiple", "width_multiple", "backbone", "head"}
# Equal to SPPF: the windows of three consecutive 5x5 max-pools are 5, 9 and 13.
SPP = "SPP, [1024, [5, 9, 13]]"
# Modules with the design and the arguments of C3, and one more convolution.
CSP = ("BottleneckCSP", "BottleneckCSPA")


class Adaptation(NamedTuple):
    """How our yamls are adapted to a host.

    Attributes:
        replacements: texts in the yamls, and what replaces them.
        notes: on the replacements, for the user.
        obstacle: why our yamls cannot be adapted; "" if they can.
    """

    replacements: Mapping[str, str] = {}
    notes: Sequence[str] = ()
    obstacle: str = ""


@dataclass(frozen=True)
class Payload:
    """Our files for one checkout by their name in it, and notes for the user."""

    files: dict[str, bytes]
    notes: list[str]


def payload(checkout: Checkout, host: ast.Module) -> Payload:
    """Return the files for a checkout whose models/yolo.py has the syntax tree `host`.

    Raises:
        PatchError: this copy of the project is incomplete, or one of its files cannot be read.
    """
    ours = our_files()
    require_whole(ours)
    modules = {name: HEADER + content_of(path) for name, path in ours.items() if path.suffix == ".py"}
    yamls = {
        name: content_of(path)
        for name, path in ours.items()
        if path.suffix == ".yaml" and os.path.isdir(checkout.root / PurePosixPath(name).parent)
    }  # without models/segment where the host has no such folder
    adaptation = adapt_yamls(host)
    if adaptation.obstacle and yamls:
        note = f"our model yamls are left out, because {adaptation.obstacle}; the backbones work in yamls of your own"
        return Payload(modules, [note])
    for name in yamls:
        for old, new in adaptation.replacements.items():
            yamls[name] = yamls[name].replace(old.encode(), new.encode())
    return Payload({**modules, **yamls}, list(adaptation.notes))


def our_files() -> dict[str, Path]:
    """Return the files that a checkout may receive by their names in it, including a user's own backbones and yamls."""
    paths = sorted(path for pattern in PATTERNS for path in regular_files(OUR_ROOT, pattern))
    return {path.relative_to(OUR_ROOT).as_posix(): path for path in paths}


def is_in_subfolder(name: str) -> bool:
    """Whether a file is in a subfolder of our package, which is removed with its last file."""
    return PurePosixPath(PACKAGE) in PurePosixPath(name).parent.parents


def content_of(path: Path) -> bytes:
    """Return the content of a file of ours.

    Raises:
        PatchError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise PatchError(
            "cannot read",
            f"{path}, which is to be installed, cannot be read: {error.strerror}. Make it readable and run this again.",
        ) from error


def require_whole(ours: Mapping[str, Path]) -> None:
    """Check that no module is missing in this copy of the project, which would break a checkout.

    Raises:
        PatchError: files are missing; the message names them.
    """
    needed = {f"{PACKAGE}/__init__.py", f"{PACKAGE}/registry.py", f"{PACKAGE}/yolo/__init__.py", MODEL}
    for name, path in ours.items():
        if path.suffix == ".py":
            found = modules_needed(name, content_of(path))
            needed |= {module for module in found if as_folder(module) not in ours}
    missing = sorted(needed - ours.keys())
    if missing:
        raise PatchError(
            "incomplete project",
            f"{OUR_ROOT}: this copy of the project is incomplete; {', '.join(missing)} is missing. Fetch it anew, "
            "whole, and run this again.",
        )


@lru_cache(maxsize=None)  # a run may need the result several times
def modules_needed(name: str, content: bytes) -> frozenset[str]:
    """Return the files of our package that a module imports or registers; none if it is not valid Python.

    Args:
        name: the module's file, such as models/backbone/yolo/rows.py.
        content: its bytes; a user's own module may contain anything.
    """
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return frozenset()
    needed: set[str] = set()
    for node in walk(tree, ast.ImportFrom):
        folder = PurePosixPath(name).parents[node.level - 1] if 0 < node.level < 3 else None
        if folder and PACKAGE in (str(folder), str(folder.parent)):
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            needed |= {f"{folder}/{module.replace('.', '/')}.py" for module in modules}
    for call in walk(tree, ast.Call):
        last = call.args[-1] if name_of(call.func) == "register" and call.args else None
        module = last.value if isinstance(last, ast.Constant) else None
        if isinstance(module, str) and module.startswith("."):
            needed.add(f"{PACKAGE}{module.replace('.', '/')}.py")
    return frozenset(needed)


def as_folder(name: str) -> str:
    """Return the `__init__.py` of a module that is a folder instead of the file `name`."""
    return f"{name[: -len('.py')]}/__init__.py"


def adapt_yamls(host: ast.Module) -> Adaptation:
    """Return how our yamls are adapted to the modules of a host."""
    replacements: dict[str, str] = {}
    notes: list[str] = []
    foreign = sorted(yaml_keys(host) - YAML_KEYS)
    if foreign:
        return Adaptation(obstacle=f"{FUNCTION} wants {', '.join(foreign)} in a yaml")
    known = known_modules(host)
    if "Conv" in known:  # otherwise parse_model does not compare names, and every module counts as known
        if "SPPF" not in known:
            if "SPP" not in known:
                return Adaptation(obstacle=f"{FUNCTION} knows neither SPPF nor SPP")
            replacements[SPPF] = SPP
            notes.append("there is no SPPF here; our yamls use SPP, which computes the same")
        if "C3" not in known:
            csp = next((name for name in CSP if name in known), None)
            if not csp:
                return Adaptation(obstacle=f"{FUNCTION} knows neither C3 nor {' nor '.join(CSP)}")
            replacements[C3] = C3.replace("C3", csp)
            notes.append(f"there is no C3 here; our yamls use {csp}")
    arguments = detect_arguments(host)
    if arguments is not None and len(arguments) != 2:
        if len(arguments) != 1:
            return Adaptation(obstacle=f"its Detect takes {', '.join(arguments)}")
        replacements[DETECT] = "Detect, [nc]"
        notes.append("Detect takes no anchors here; our yamls give it none")
    return Adaptation(replacements, notes)


def parse_model_of(host: ast.Module) -> ast.FunctionDef:
    """Return the function `parse_model`, which a host that can be patched has."""
    return [node for node in host.body if isinstance(node, ast.FunctionDef) and node.name == FUNCTION][-1]


def known_modules(host: ast.Module) -> set[str]:
    """Return the names in `parse_model`, which include the modules that it gives channels to."""
    return {node.id for node in walk(parse_model_of(host), ast.Name)}


def yaml_keys(host: ast.Module) -> set[str]:
    """Return the keys of a yaml that `parse_model` requires.

    They are k of each `d["k"]`, where d is its first parameter, unless it checks `"k" in d`.
    """
    function = parse_model_of(host)
    keys = {
        constant.value
        for node in walk(function, ast.Subscript)
        if name_of(node.value) == function.args.args[0].arg
        for constant in walk(node.slice, ast.Constant)
    }
    optional = {node.left.value for node in walk(function, ast.Compare) if isinstance(node.left, ast.Constant)}
    return {key for key in keys - optional if isinstance(key, str)}


def detect_arguments(host: ast.Module) -> list[str] | None:
    """Return the parameters of Detect before `ch`, which `parse_model` adds; None if they are unknown."""
    for class_def in walk(host, ast.ClassDef):
        if class_def.name != "Detect":
            continue
        for method in class_def.body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                names = [argument.arg for argument in method.args.args[1:]]
                return names[: names.index("ch")] if "ch" in names else None
    return None
