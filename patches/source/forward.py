"""Finds the loops that run the layers one after the other, and the methods that fuse them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Iterator

from ..errors import AnchorMissingError
from .syntax import dotted_name, method_calls, name_of, statements, walk

# Statements that run a layer at most once; a nested loop would run it several times.
NESTED = (ast.If, ast.With, ast.Try)


@dataclass(frozen=True)
class Forward:
    """A loop that runs the layers one after the other, and the names it uses."""

    runs: list[ast.Assign]  # `x = m(x)`, one in each branch
    layer: str
    value: str
    outputs: str
    save: str  # an expression


def find_forwards(tree: ast.Module, filename: str, layers: str = "self.model") -> tuple[list[Forward], list[ast.For]]:
    """Return every loop that runs `layers`, and the first loop of `fuse` in the classes with such loops.

    Raises:
        AnchorMissingError: there is no such loop.
    """
    forwards: list[Forward] = []
    fuse_loops: list[ast.For] = []
    for class_def in walk(tree, ast.ClassDef):
        methods = [node for node in class_def.body if isinstance(node, ast.FunctionDef)]
        found = [forward for method in methods for forward in forwards_of(method, layers)]
        forwards += found
        if found:
            fuse_methods = [method for method in methods if method.name == "fuse"]
            fuse_loops += [node for method in fuse_methods for node in method.body if isinstance(node, ast.For)][:1]
    if not forwards:
        raise AnchorMissingError(
            filename, f"forward that runs 'x = m(x)' over {layers} and appends to y what is in self.save"
        )
    return forwards, fuse_loops


def forwards_of(method: ast.FunctionDef, layers: str) -> Iterator[Forward]:
    """Yield each loop of a method that runs `layers` one by one and keeps outputs."""
    for loop in walk(method, ast.For):
        layer = layer_name(loop, layers)
        if not layer:
            continue
        kept = kept_outputs(loop, layer)
        if not kept:
            continue
        value, outputs, save = kept
        runs = [node for node in walk(loop, ast.Assign) if is_run(node, layer, value)]
        within_reach = set(statements(loop.body, NESTED))
        if runs and within_reach.issuperset(runs) and not any(runs_in_sequence(loop.body, runs)):
            yield Forward(runs, layer, value, outputs, save)


def layer_name(loop: ast.For, layers: str) -> str | None:
    """Return m of `for m in layers` or `for i, m in enumerate(layers)`."""
    if dotted_name(loop.iter) == layers:
        return name_of(loop.target)
    enumerated = isinstance(loop.iter, ast.Call) and name_of(loop.iter.func) == "enumerate" and loop.iter.args
    if enumerated and dotted_name(enumerated[0]) == layers and isinstance(loop.target, ast.Tuple):
        return name_of(loop.target.elts[-1])
    return None


def is_run(node: ast.Assign, layer: str, value: str) -> bool:
    """Whether this is `x = m(x)`."""
    return (
        len(node.targets) == 1
        and name_of(node.targets[0]) == value
        and isinstance(node.value, ast.Call)
        and name_of(node.value.func) == layer
        and [name_of(argument) for argument in node.value.args] == [value]
        and not node.value.keywords
    )


def runs_in_sequence(body: list[ast.stmt], runs: list[ast.Assign]) -> Iterator[bool]:
    """Yield for each block of statements whether it can run two of `runs` one after the other."""
    inside = [len(set(statements([statement], NESTED)).intersection(runs)) for statement in body]
    yield sum(count > 0 for count in inside) > 1
    for statement, count in zip(body, inside):
        if count and isinstance(statement, ast.If):
            yield from runs_in_sequence(statement.body, runs)
            yield from runs_in_sequence(statement.orelse, runs)
        elif isinstance(statement, NESTED):
            yield count > 1


def kept_outputs(loop: ast.For, layer: str) -> tuple[str, str, str] | None:
    """Return x, y and `self.save` of the first `y.append(x if m.i in self.save else None)`.

    A counter of the loop instead of `m.i` does not count: after a backbone, indices are larger than positions.
    """
    for outputs, call in method_calls(loop, "append"):
        choice = call.args[0] if len(call.args) == 1 else None
        if not (isinstance(choice, ast.IfExp) and isinstance(choice.test, ast.Compare)):
            continue
        index, value, save = choice.test.left, name_of(choice.body), choice.test.comparators[0]
        if not (isinstance(index, ast.Attribute) and index.attr == "i" and name_of(index.value) == layer):
            continue
        if value and isinstance(choice.test.ops[0], ast.In) and isinstance(save, ast.Attribute) and name_of(save.value):
            return value, outputs, f"{name_of(save.value)}.{save.attr}"
    return None
