"""Small queries on a syntax tree, and the places for whole lines beside its statements."""

from __future__ import annotations

import ast
import sys
import warnings
from typing import Callable, Iterator, TypeVar

from ..errors import PatchError
from .blocks import split_lines

Node = TypeVar("Node", bound=ast.AST)
Result = TypeVar("Result")


def parse(source: str, filename: str) -> ast.Module:
    """Parse a file of the host.

    Raises:
        PatchError: it is not valid Python; the message names conflict markers as such.
    """
    try:
        return run_parser(lambda: ast.parse(source), filename)
    except PatchError as error:
        for number, line in enumerate(split_lines(source), 1):
            if line.startswith(("<<<<<<< ", ">>>>>>> ")):
                raise PatchError(
                    "conflict markers",
                    f"{filename}, line {number}: this is a conflict marker ({line.strip()}), left by a merge. Resolve "
                    "the conflict and run this again.",
                ) from error
        raise


def require_compiles(source: str, filename: str) -> None:
    """Check what parsing does not, such as a return outside of functions.

    Raises:
        PatchError: the source does not compile.
    """
    run_parser(lambda: compile(source, filename, "exec", dont_inherit=True), filename)


def run_parser(read: Callable[[], Result], filename: str) -> Result:
    """Call `read`, which parses or compiles a source, and turn its errors into one for the user.

    Raises:
        PatchError: the source is not valid Python.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escape sequences in the host's strings
            return read()
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line_number = getattr(error, "lineno", None)
        where = f", line {line_number}" if line_number else ""
        python = "Python {}.{}".format(*sys.version_info)
        raise PatchError(
            "not valid Python",
            f"{filename}{where}: this is not valid {python} ({error}). Repair the file, restore it with git checkout, "
            "or use the Python that runs YOLOv5, and run this again.",
        ) from error


def walk(node: ast.AST, kind: type[Node]) -> Iterator[Node]:
    """Yield the nodes of one kind in a tree."""
    return (child for child in ast.walk(node) if isinstance(child, kind))


def statements(body: list[ast.stmt], inside: tuple[type[ast.stmt], ...]) -> Iterator[ast.stmt]:
    """Yield the statements of a body and, depth first, those nested in statements of the kinds `inside`."""
    for statement in body:
        yield statement
        if isinstance(statement, inside):
            for part in ("body", "orelse", "finalbody"):
                yield from statements(getattr(statement, part, []), inside)


def name_of(node: ast.AST) -> str | None:
    """Return x of the expression `x`, or None for another expression."""
    return node.id if isinstance(node, ast.Name) else None


def method_calls(node: ast.AST, method: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield x and the call of each `x.method(...)`."""
    for call in walk(node, ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr == method:
            owner = name_of(call.func.value)
            if owner:
                yield owner, call


def dotted_name(node: ast.AST) -> str | None:
    """Return x.y.z of the expression `x.y.z`, or None for another expression."""
    if isinstance(node, ast.Attribute):
        owner = dotted_name(node.value)
        return f"{owner}.{node.attr}" if owner else None
    return name_of(node)


def log_expression(function: ast.AST) -> str:
    """Return the expression by which the host logs: `LOGGER.info`, `logger.info`, or `print`.

    Names that the function itself binds do not count: they may have no value yet at an inserted line.
    """
    local = {node.id for node in walk(function, ast.Name) if not isinstance(node.ctx, ast.Load)}
    local |= {node.arg for node in walk(function, ast.arg)}
    loggers = (owner for owner, _ in method_calls(function, "info") if owner not in local)
    return next((f"{owner}.info" for owner in loggers), "print")


class Lines:
    """The lines of one file, and the places for whole lines beside its statements."""

    def __init__(self, source: str, filename: str) -> None:
        self.lines = split_lines(source)
        self.filename = filename

    def before(self, statement: ast.stmt) -> int:
        """Return the number of lines above a statement."""
        self.require_own_lines(statement)
        return statement.lineno - 1

    def after(self, statement: ast.stmt) -> int:
        """Return the number of lines up to the last of a statement."""
        self.require_own_lines(statement)
        assert statement.end_lineno
        if statement.end_lineno == len(self.lines):
            raise self.refusal(statement, "the file ends with it")
        return statement.end_lineno

    def indent(self, statement: ast.stmt) -> str:
        """Return the indent of a statement, from the last form feed on, as Python counts it."""
        line = self.lines[statement.lineno - 1]
        return line[: len(line) - len(line.lstrip())].rpartition("\f")[2]

    def require_own_lines(self, statement: ast.stmt) -> None:
        """Check that the lines of a statement hold nothing else.

        Raises:
            PatchError: they do.
        """
        assert statement.end_lineno
        assert statement.end_col_offset is not None
        first, last = self.lines[statement.lineno - 1], self.lines[statement.end_lineno - 1]
        before = first.encode("utf-8")[: statement.col_offset]  # ast counts columns in bytes of UTF-8
        behind = last.encode("utf-8")[statement.end_col_offset :].strip()
        above = self.lines[statement.lineno - 2].strip() if statement.lineno > 1 else ""
        continued = above.endswith("\\") and not above.startswith("#")
        if before.strip() or (behind and not behind.startswith(b"#")) or continued:
            raise self.refusal(statement, "it shares its line with another statement")

    def refusal(self, statement: ast.stmt, why: str) -> PatchError:
        """Return the error about a place at which nothing can be inserted."""
        return PatchError(
            "no whole line",
            f"{self.filename}, line {statement.lineno}: nothing can be inserted beside this statement, because {why}. "
            "Put it on a line of its own and run this again.",
        )
