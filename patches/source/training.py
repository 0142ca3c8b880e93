"""Finds the places in the host's train scripts where they load a checkpoint, freeze layers and so on."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Iterator

from .syntax import dotted_name, log_expression, method_calls, name_of, walk


@dataclass(frozen=True)
class Place:
    """A statement, and the names that its function uses.

    Attributes:
        model: the name of the model.
        log: an expression for the function that logs.
        source: the name of the optimizer, of a checkpoint's tensors or of the epoch number, or an expression for the
            yaml in a checkpoint.
    """

    statement: ast.stmt
    model: str
    log: str
    source: str = ""


def find_rebuild(tree: ast.Module, text: str) -> Place | None:
    """Return `model = Model(cfg or ckpt["model"].yaml, ...)`, which builds the yaml of a checkpoint again, or None.

    Args:
        tree: the syntax tree of a train script.
        text: its source.
    """
    for function in walk(tree, ast.FunctionDef):
        for statement in walk(function, ast.Assign):
            for call in walk(statement.value, ast.Call):
                either = call.args[0] if call.args else None
                last = either.values[-1] if isinstance(either, ast.BoolOp) and isinstance(either.op, ast.Or) else None
                model = name_of(statement.targets[0])
                if model and isinstance(last, ast.Attribute) and last.attr == "yaml":
                    source = ast.get_source_segment(text, last)
                    if source and "\n" not in source:
                        return Place(statement, model, log_expression(function), with_double_quotes(source))
    return None


def with_double_quotes(source: str) -> str:
    """Return an expression with the quotes that most formatters choose, so that they leave its line as it is."""
    return source if '"' in source or "\\" in source else source.replace("'", '"')


def find_load(tree: ast.Module) -> Place | None:
    """Return `state = intersect_dicts(state, model.state_dict(), ...)`, which selects tensors that fit, or None."""
    for function in walk(tree, ast.FunctionDef):
        for statement in walk(function, ast.Assign):
            call = statement.value
            if isinstance(call, ast.Call) and len(call.args) > 1 and name_of(call.func) == "intersect_dicts":
                state, models = name_of(call.args[0]), list(method_calls(call.args[1], "state_dict"))
                if state and models:
                    return Place(statement, models[0][0], log_expression(function), state)
    return None


def find_freeze(tree: ast.Module) -> Place | None:
    """Return the first loop that freezes layers, or None."""
    for function in walk(tree, ast.FunctionDef):
        for loop in walk(function, ast.For):
            model = frozen_model(loop)
            if model:
                return Place(loop, model, log_expression(function))
    return None


def frozen_model(loop: ast.For) -> str | None:
    """Return model of `for k, v in model.named_parameters():` if the loop has `v.requires_grad = False`, or None."""
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

    It must be in the function's own body: lines after it in a branch would not run for every optimizer.
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
    """Return x of the function's loops over `x.modules()` or `x.named_modules()`; None if there are several."""
    owners = {
        owner
        for loop in walk(function, ast.For)
        for method in ("modules", "named_modules")
        for owner, call in method_calls(loop.iter, method)
        if call is loop.iter
    }
    return owners.pop() if len(owners) == 1 else None


def find_epoch(tree: ast.Module) -> Place | None:
    """Return the `model.train()` with which an epoch begins; None if there is none or more than one.

    It is in the body of a loop over numbers. If there are several such loops, the number must be called an epoch.
    """
    known = find_optimizer(tree) or find_freeze(tree)
    places = [place for function in walk(tree, ast.FunctionDef) for place in epochs_of(function)]
    places = [place for place in places if not known or place.model == known.model]
    if len(places) > 1:
        places = [place for place in places if "epoch" in place.source]
    return places[0] if len(places) == 1 else None


def epochs_of(function: ast.FunctionDef) -> Iterator[Place]:
    """Yield each `model.train()` in a function's loops over numbers, if the name of the model is local."""
    nested = {node for inner in walk(function, ast.FunctionDef) if inner is not function for node in ast.walk(inner)}
    bound = {node.id for node in walk(function, ast.Name) if isinstance(node.ctx, ast.Store) and node not in nested}
    bound |= {argument.arg for argument in walk(function.args, ast.arg)}
    bound -= {name for node in walk(function, ast.Global) for name in node.names}
    bound -= {name for node in walk(function, ast.Nonlocal) for name in node.names}
    for loop in walk(function, ast.For):
        number = name_of(loop.target)
        if number and loop not in nested and isinstance(loop.iter, ast.Call) and name_of(loop.iter.func) == "range":
            for statement in loop.body:
                for model, call in method_calls(statement, "train"):
                    if isinstance(statement, ast.Expr) and statement.value is call and model in bound:
                        yield Place(statement, model, log_expression(function), number)
