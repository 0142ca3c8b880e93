"""Finds, in the syntax tree of a YOLOv5 models/yolo.py, the statements that the insertions stand beside.

Names that the insertions use are read off the tree too, because edited checkouts rename them.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Iterator, Sequence, TypeVar

from .errors import PatchError

Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True)
class ParseLoop:
    """The loop of `parse_model` over the yaml's rows, and the names it uses."""

    loop: ast.For
    index: str
    row: tuple[str, str, str, str]  # from, number, module, args
    channels: str
    layers: str
    save: str
    log: str  # an expression


@dataclass(frozen=True)
class Forward:
    """A loop that runs the layers one after the other, and the names it uses."""

    run: ast.Assign  # x = m(x)
    layer: str
    value: str
    outputs: str
    save: str  # an expression


@dataclass(frozen=True)
class Anchors:
    """Every place of one file."""

    models_import: ast.ImportFrom
    parse_loop: ParseLoop
    forwards: Sequence[Forward]
    fuse_loops: Sequence[ast.For]


def find_anchors(source: str, filename: str) -> Anchors:
    """Return the places of the insertions.

    Raises:
        PatchError: the file does not parse, or a place is missing; the message names it.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise PatchError(
            f"{filename}{f', line {line}' if line else ''}: this is not valid Python ({error}). "
            "Repair the file, or restore it with git checkout, and run this again."
        ) from error
    refuse_other_patches(tree, filename)
    forwards, fuse_loops = find_forwards(tree, filename)
    return Anchors(find_models_import(tree, filename), find_parse_loop(tree, filename), forwards, fuse_loops)


def missing(filename: str, what: str) -> PatchError:
    """Return the refusal of a file that lacks something."""
    return PatchError(
        f"{filename}: found no {what}, so this is not a models/yolo.py of YOLOv5 v5.0 or later that the patch "
        "understands. Give it a YOLOv5 checkout, or restore the file from its release and run this again."
    )


def refuse_other_patches(tree: ast.Module, filename: str) -> None:
    """Refuse a file into which somebody has already built a backbone of several maps by hand."""
    for node in walk(tree, ast.expr):
        flag = isinstance(node, ast.Name) and node.id in ("is_backbone", "is_timm")
        test = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "hasattr"
            and len(node.args) == 2
            and isinstance(node.args[1], ast.Constant)
            and node.args[1].value == "backbone"
        )
        if flag or test:
            found = node.id if isinstance(node, ast.Name) else "hasattr(..., 'backbone')"
            raise PatchError(
                f"{filename}, line {node.lineno}: {found} belongs to a hand-made patch for backbones of several "
                "maps, and two such patches do not go together. Restore the file from its release (git checkout "
                "models/yolo.py) and run this again; yamls that follow the usual index rule work unchanged."
            )


def find_models_import(tree: ast.Module, filename: str) -> ast.ImportFrom:
    """Return the last top-level `from ...models.common import` or, failing that, the like of another models module."""
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    siblings = [node for node in imports if models_package(node) is not None]
    if not siblings:
        raise missing(filename, "top-level import from models.common")
    return siblings[-1]


def models_package(node: ast.ImportFrom) -> str | None:
    """Return the package that an import from a sibling of models/yolo.py names: `models`, `yolov5.models` or `.`."""
    package, _, module = (node.module or "").rpartition(".")
    if node.level == 1 and not package and module:
        return "."
    if node.level == 0 and package.split(".")[-1] == "models":
        return package
    return None


def find_parse_loop(tree: ast.Module, filename: str) -> ParseLoop:
    """Return the loop of `parse_model` over the rows of a yaml."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "parse_model"]
    if not functions:
        raise missing(filename, "function parse_model")
    function = functions[-1]  # the one that Python keeps
    for loop in (node for node in function.body if isinstance(node, ast.For)):
        names = row_names(loop)
        if names:
            break
    else:
        raise missing(filename, "loop over (index, (from, number, module, args)) in parse_model")
    index, row = names
    if len(function.args.args) < 2:
        raise missing(filename, "second parameter, the input channels, of parse_model")
    channels = function.args.args[1].arg
    if not resets_channels(loop, index, channels):
        raise missing(filename, f"'if {index} == 0: {channels} = []' in parse_model's loop (it came with v5.0)")
    returned = [match for node in walk(function, ast.Return) for match in returned_names(node)]
    if not returned:
        raise missing(filename, "'return nn.Sequential(*layers), sorted(save)' in parse_model")
    return ParseLoop(loop, index, row, channels, *returned[-1], log_expression(function))


def row_names(loop: ast.For) -> tuple[str, tuple[str, str, str, str]] | None:
    """Return the names in `for i, (f, n, m, args) in enumerate(...)`, or None for another loop."""
    target = loop.target
    if not (
        isinstance(loop.iter, ast.Call)
        and isinstance(loop.iter.func, ast.Name)
        and loop.iter.func.id == "enumerate"
        and isinstance(target, ast.Tuple)
        and len(target.elts) == 2
        and isinstance(target.elts[1], (ast.Tuple, ast.List))
    ):
        return None
    names = [element.id for element in (target.elts[0], *target.elts[1].elts) if isinstance(element, ast.Name)]
    if len(names) != 5 or len(target.elts[1].elts) != 4:
        return None
    return names[0], (names[1], names[2], names[3], names[4])


def resets_channels(loop: ast.For, index: str, channels: str) -> bool:
    """Whether the host drops the image's channels after row 0, so that `ch[k]` belongs to layer k."""
    return any(
        compared_name(node.test) == index
        and any(name_of(target) == channels for child in walk(node, ast.Assign) for target in child.targets)
        for node in walk(loop, ast.If)
    )


def returned_names(node: ast.Return) -> Iterator[tuple[str, str]]:
    """Yield the names of layers and save in `return nn.Sequential(*layers), sorted(save)`."""
    if not (isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2):
        return
    model, save = node.value.elts
    if not (isinstance(model, ast.Call) and len(model.args) == 1 and isinstance(model.args[0], ast.Starred)):
        return
    layers_name = name_of(model.args[0].value)
    save_name = name_of(save.args[0]) if isinstance(save, ast.Call) and save.args else name_of(save)
    if layers_name and save_name:
        yield layers_name, save_name


def log_expression(function: ast.FunctionDef) -> str:
    """Return what the host writes its layer table with: `LOGGER.info`, `logger.info`, or `print`."""
    for call in walk(function, ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "info" and name_of(call.func.value):
            return f"{name_of(call.func.value)}.info"
    return "print"


def find_forwards(tree: ast.Module, filename: str) -> tuple[list[Forward], list[ast.For]]:
    """Return every loop that runs `self.model`, and the fuse loops of the classes that hold them."""
    forwards: list[Forward] = []
    fuse_loops: list[ast.For] = []
    for class_def in walk(tree, ast.ClassDef):
        methods = [node for node in class_def.body if isinstance(node, ast.FunctionDef)]
        found = [forward for method in methods for forward in forwards_of(method)]
        forwards += found
        if found:
            fuse_methods = [method for method in methods if method.name == "fuse"]
            fuse_loops += [node for method in fuse_methods for node in method.body if isinstance(node, ast.For)][:1]
    if not forwards:
        raise missing(filename, "forward that runs 'x = m(x)' over self.model and appends to y what is in self.save")
    return forwards, fuse_loops


def forwards_of(method: ast.FunctionDef) -> Iterator[Forward]:
    """Yield each loop of a method that runs `self.model` layer by layer and keeps outputs."""
    for loop in walk(method, ast.For):
        layer = name_of(loop.target)
        if not layer or not is_self_attribute(loop.iter, "model"):
            continue
        runs = [node for node in loop.body if isinstance(node, ast.Assign) and is_run(node, layer)]
        outputs = kept_outputs(loop, layer)
        if len(runs) == 1 and outputs:
            value = name_of(runs[0].targets[0])
            assert value
            yield Forward(runs[0], layer, value, *outputs)


def is_run(node: ast.Assign, layer: str) -> bool:
    """Whether this is `x = m(x)`."""
    call = node.value
    return (
        len(node.targets) == 1
        and isinstance(call, ast.Call)
        and name_of(call.func) == layer
        and len(call.args) == 1
        and name_of(call.args[0]) is not None
        and name_of(call.args[0]) == name_of(node.targets[0])
    )


def kept_outputs(loop: ast.For, layer: str) -> tuple[str, str] | None:
    """Return y and `self.save` of `y.append(x if m.i in self.save else None)`."""
    for call in walk(loop, ast.Call):
        if not (isinstance(call.func, ast.Attribute) and call.func.attr == "append" and len(call.args) == 1):
            continue
        choice = call.args[0]
        outputs = name_of(call.func.value)
        if outputs and isinstance(choice, ast.IfExp) and isinstance(choice.test, ast.Compare):
            save = choice.test.comparators[0]
            if isinstance(choice.test.ops[0], ast.In) and isinstance(save, ast.Attribute) and name_of(save.value):
                return outputs, f"{name_of(save.value)}.{save.attr}"
    return None


def walk(node: ast.AST, kind: type[Node]) -> Iterator[Node]:
    """Return the nodes of one kind in a tree."""
    return (child for child in ast.walk(node) if isinstance(child, kind))


def name_of(node: ast.AST) -> str | None:
    """Return x of the expression `x`."""
    return node.id if isinstance(node, ast.Name) else None


def compared_name(test: ast.AST) -> str | None:
    """Return x of `x == 0`."""
    if isinstance(test, ast.Compare) and isinstance(test.comparators[0], ast.Constant):
        return name_of(test.left) if test.comparators[0].value == 0 else None
    return None


def is_self_attribute(node: ast.AST, attribute: str) -> bool:
    """Whether this is `self.<attribute>`."""
    return isinstance(node, ast.Attribute) and node.attr == attribute and name_of(node.value) == "self"
