"""Finds the loop over a yaml's rows in `parse_model` of models/yolo.py and models/tf.py, and the names it uses."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ..errors import AnchorMissingError, PatchError
from .syntax import dotted_name, log_expression, method_calls, name_of, statements, walk

FUNCTION = "parse_model"


@dataclass(frozen=True)
class RowLoop:
    """The loop `for index, (source, repeats, module, args) in enumerate(...)`; after `start`, the names are bound."""

    function: ast.FunctionDef
    loop: ast.For
    start: ast.stmt | None  # None: the loop's header binds them
    index: str
    row: tuple[str, str, str, str]  # from, number, module, args


@dataclass(frozen=True)
class ParseLoop:
    """The loop of `parse_model`, and the names of what it builds."""

    rows: RowLoop
    channels: str
    keeps_image_channels: bool  # whether channels[0] stays the image's, so that channels[k + 1] belongs to layer k
    layers: str
    save: str
    log: str  # an expression


def find_row_loop(tree: ast.Module, filename: str) -> RowLoop:
    """Return the loop of `parse_model` over the rows of a yaml.

    Raises:
        PatchError: there is none, or more than one.
    """
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == FUNCTION]
    if not functions:
        raise AnchorMissingError(filename, f"function {FUNCTION}")
    function = functions[-1]  # the one that Python keeps
    nested = (ast.If, ast.With, ast.Try)
    loops = [row_loop(function, loop) for loop in statements(function.body, nested) if isinstance(loop, ast.For)]
    found = [rows for rows in loops if rows]
    if not found:
        raise AnchorMissingError(filename, f"loop over (index, (from, number, module, args)) in {FUNCTION}")
    if len(found) > 1:
        lines = " and ".join(str(rows.loop.lineno) for rows in found)
        raise PatchError(
            "several row loops",
            f"{filename}, lines {lines}: {FUNCTION} goes through the rows of a yaml more than once, and it cannot be "
            "told which loop builds the layers. Leave one, or restore the file from its release, and run this again.",
        )
    return found[0]


def row_loop(function: ast.FunctionDef, loop: ast.For) -> RowLoop | None:
    """Return a loop over `enumerate(...)` with the names of index, from, number, module and args, or None."""
    target = loop.target
    enumerated = isinstance(loop.iter, ast.Call) and name_of(loop.iter.func) == "enumerate"
    if not (enumerated and isinstance(target, ast.Tuple) and len(target.elts) == 2):
        return None
    index, row = name_of(target.elts[0]), target.elts[1]
    if not index:
        return None
    names = four_names(row)
    if names:
        return RowLoop(function, loop, None, index, names)
    if name_of(row):
        for statement in loop.body:  # for i, row in enumerate(...): f, n, m, args = row
            if isinstance(statement, ast.Assign) and name_of(statement.value) == name_of(row):
                names = four_names(statement.targets[0])
                if names:
                    return RowLoop(function, loop, statement, index, names)
    return None


def four_names(target: ast.expr) -> tuple[str, str, str, str] | None:
    """Return the names in `(f, n, m, args)`, or None for another target."""
    if not (isinstance(target, (ast.Tuple, ast.List)) and len(target.elts) == 4):
        return None
    first, second, third, fourth = (name_of(element) for element in target.elts)
    return (first, second, third, fourth) if first and second and third and fourth else None


def find_parse_loop(tree: ast.Module, filename: str) -> ParseLoop:
    """Return the loop of `parse_model` with the names of what it builds.

    Raises:
        PatchError: there is no such loop, or one of the names cannot be found.
    """
    rows = find_row_loop(tree, filename)
    if len(rows.function.args.args) < 2:
        raise AnchorMissingError(filename, f"second parameter, the input channels, of {FUNCTION}")
    channels = rows.function.args.args[1].arg
    layers, save = layers_name(rows), save_name(rows)
    if not layers:
        what = "'nn.Sequential(*layers)' or 'keras.Sequential(layers)'"
        raise AnchorMissingError(filename, f"{what} of a list that {FUNCTION}'s loop appends to")
    if not save:
        raise AnchorMissingError(filename, f"'save.extend(...)' in {FUNCTION}'s loop")
    keeps = keeps_image_channels(rows, channels, filename)
    return ParseLoop(rows, channels, keeps, layers, save, log_expression(rows.function))


def layers_name(rows: RowLoop) -> str | None:
    """Return x of `nn.Sequential(*x)` or `keras.Sequential(x)` after the loop, where the loop has `x.append(...)`."""
    appended = {owner for owner, _ in method_calls(rows.loop, "append")}
    inside = set(walk(rows.loop, ast.Call))
    joined = {
        name_of(call.args[0].value if isinstance(call.args[0], ast.Starred) else call.args[0])
        for call in walk(rows.function, ast.Call)
        if call not in inside
        and len(call.args) == 1
        and (isinstance(call.args[0], ast.Starred) or dotted_name(call.func) == "keras.Sequential")
    }
    found = sorted(name for name in joined if name in appended and name)
    return found[0] if len(found) == 1 else None


def weights_name(rows: RowLoop, filename: str) -> str:
    """Return x of `x.model[i]` in the loop, the PyTorch layer of row i; x is a parameter without other uses."""
    indexed = [
        name_of(node.value.value)
        for node in walk(rows.loop, ast.Subscript)
        if isinstance(node.value, ast.Attribute)
        and node.value.attr == "model"
        and [name_of(part) for part in walk(node.slice, ast.expr)] == [rows.index]
    ]
    used = [name_of(node) for node in walk(rows.function, ast.Name)]
    parameters = [argument.arg for argument in rows.function.args.args]
    found = [name for name in parameters if 0 < indexed.count(name) == used.count(name)]
    if len(found) != 1:
        raise AnchorMissingError(
            filename, f"parameter of {FUNCTION} of which its loop takes 'model.model[{rows.index}]', and nothing else"
        )
    return found[0]


def save_name(rows: RowLoop) -> str | None:
    """Return x of `x.extend(...)` in the loop, where the function sorts or returns x."""
    extended = {owner for owner, _ in method_calls(rows.loop, "extend")}
    used = {
        name_of(node)
        for statement in walk(rows.function, ast.Return)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
    }
    found = sorted(name for name in extended if name in used)
    return found[0] if len(found) == 1 else None


def keeps_image_channels(rows: RowLoop, channels: str, filename: str) -> bool:
    """Whether the first entry of the list of channels stays the image's.

    Since v5.0 the list is emptied in row 0 (`if i == 0: ch = []`), so `ch[k]` belongs to layer k. Before, and in
    relatives that are older, its first entry stays the image's, and rows read `ch[k + 1]`.
    """
    emptied = any(
        compared_to_zero(node.test) == rows.index
        and any(name_of(target) == channels for child in walk(node, ast.Assign) for target in child.targets)
        for node in walk(rows.loop, ast.If)
    )
    shifted = any(
        name_of(node.value) == channels and any(is_plus_one(part) for part in walk(node.slice, ast.BinOp))
        for node in walk(rows.loop, ast.Subscript)
    )
    if not (emptied or shifted):
        raise AnchorMissingError(
            filename,
            f"clear numbering of {channels} in {FUNCTION}: either 'if {rows.index} == 0: {channels} = []', as since "
            f"v5.0, or '{channels}[... + 1]', as before",
        )
    return not emptied


def compared_to_zero(test: ast.expr) -> str | None:
    """Return x of `x == 0`."""
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return None
    right = test.comparators[0]
    return name_of(test.left) if isinstance(right, ast.Constant) and right.value == 0 else None


def is_plus_one(node: ast.BinOp) -> bool:
    """Whether this is `... + 1`."""
    return isinstance(node.op, ast.Add) and isinstance(node.right, ast.Constant) and node.right.value == 1
