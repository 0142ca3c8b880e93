"""Finds the places in the host's train scripts: where layers are frozen, and where the optimizer is built."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Iterator

from .syntax import dotted_name, log_expression, method_calls, name_of, walk


@dataclass(frozen=True)
class Place:
    """A statement, and what its function calls the model, the optimizer and its log behind it."""

    statement: ast.stmt
    model: str
    log: str  # an expression
    optimizer: str = ""


def find_freeze(tree: ast.Module) -> Place | None:
    """Return the first loop that freezes layers, or None."""
    for function in walk(tree, ast.FunctionDef):
        for loop in walk(function, ast.For):
            model = frozen_model(loop)
            if model:
                return Place(loop, model, log_expression(function))
    return None


def frozen_model(loop: ast.For) -> str | None:
    """Return model of `for k, v in model.named_parameters():` where the loop says `v.requires_grad = False`."""
    call = loop.iter
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return None
    freezes = any(
        isinstance(target, ast.Attribute)
        and target.attr == "requires_grad"
        and isinstance(node.value, ast.Constant)
        and node.value.value is False
        for node in walk(loop, ast.Assign)
        for target in node.targets
    )
    return name_of(call.func.value) if freezes and call.func.attr == "named_parameters" else None


def find_optimizer(tree: ast.Module) -> Place | None:
    """Return the first function's last statement that gives an optimizer parameters of the model, or None.

    It must stand in the function's own body, because what follows it in a branch is not run for every optimizer.
    """
    for function in walk(tree, ast.FunctionDef):
        built = list(optimizers_of(function))
        if built:
            return built[-1]
    return None


def optimizers_of(function: ast.FunctionDef) -> Iterator[Place]:
    """Yield each `optimizer = smart_optimizer(model, ...)` and, as up to v6.1, each `optimizer.add_param_group(...)`.

    The model of the latter is that of the function's loop over `model.modules()` or `model.named_modules()`.
    """
    log = log_expression(function)
    model = looped_model(function)
    for statement in function.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call) and statement.value.args:
            optimizer, source = name_of(statement.targets[0]), name_of(statement.value.args[0])
            if optimizer and source and (dotted_name(statement.value.func) or "").split(".")[-1] == "smart_optimizer":
                yield Place(statement, source, log, optimizer)
        elif isinstance(statement, (ast.Expr, ast.If)) and model:
            for optimizer, _ in method_calls(statement, "add_param_group"):
                yield Place(statement, model, log, optimizer)


def looped_model(function: ast.FunctionDef) -> str | None:
    """Return the one x of the function's loops over `x.modules()` or `x.named_modules()`; None if there are others."""
    owners = {
        owner
        for loop in walk(function, ast.For)
        for method in ("modules", "named_modules")
        for owner, call in method_calls(loop.iter, method)
        if call is loop.iter
    }
    return owners.pop() if len(owners) == 1 else None
