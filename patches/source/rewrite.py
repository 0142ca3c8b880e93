"""Turns the text of a host's file into the patched text and back, by inserting and removing whole lines."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Collection, Mapping, Sequence

from .. import PROJECT
from ..errors import PatchError
from .blocks import HOST, ROWS, Block, insert_blocks, split_lines
from .edits import YOLO, Edit
from .removal import OUR_NAMES, Line, Removal, code_in, is_marker, remove
from .syntax import Lines, parse, require_compiles, walk

JOINED = [  # our name in an import of other names: on a line of its own, after another name, before one
    re.compile(rf"\n[ \t]*\w+\s+as\s+{HOST}\b[ \t]*,?[ \t]*(?=\n)"),
    re.compile(rf",\s*\w+\s+as\s+{HOST}\b"),
    re.compile(rf"\b\w+\s+as\s+{HOST}\s*,\s*"),
]


@dataclass(frozen=True)
class Rewrite:
    """A host's file without the patch and with it, and what was inserted."""

    stock: str
    patched: str
    blocks: Sequence[Block]

    def statements(self) -> list[str]:
        """Return the inserted statements, in the order of their blocks."""
        return [statement for block in self.blocks for statement in block.statements()]

    def former_statements(self) -> list[str]:
        """Return the statements that earlier versions inserted in the same places."""
        return [statement for block in self.blocks for statement in block.former]

    def matches_up_to_formatting(self, text: str) -> bool:
        """Whether `text` is the patched text, apart from the changes of a formatter or an import sorter."""
        if text == self.patched:
            return True
        return HOST in text and formatting_invariants(text) == formatting_invariants(self.patched)


def formatting_invariants(text: str) -> tuple[str, list[str], list[str]]:
    """Return what formatters never change in a patched text: the other syntax, our import, and our markers."""
    tree = parse(text, "")
    ours = []
    for node in walk(tree, ast.ImportFrom):
        ours += [f"{'.' * node.level}{node.module} {alias.name}" for alias in node.names if alias.asname == HOST]
        node.names = [alias for alias in node.names if alias.asname != HOST]
    tree.body = [node for node in tree.body if not (isinstance(node, ast.ImportFrom) and not node.names)]
    markers = sorted(line.strip() for line in split_lines(text) if is_marker(line))
    return ast.dump(tree), ours, markers


@lru_cache(maxsize=16)  # a run rewrites the same text twice
def rewrite(stock: str, filename: str = YOLO.name, edit: Edit = YOLO) -> Rewrite:
    """Return the patched text of a file that is not patched.

    Raises:
        PatchError: the file does not parse, an anchor is missing, or the result is unsound.
    """
    for line in remove(stock, ()).foreign:
        raise name_taken(line, filename)
    blocks = edit.blocks(parse(stock, filename), Lines(stock, filename))
    result = Rewrite(stock, insert_blocks(stock, blocks), blocks)
    require_sound(result, filename)
    return result


def apply(source: str, filename: str = YOLO.name, edit: Edit = YOLO, known: Collection[str] = ()) -> str:
    """Return the patched source; a source that is patched already is patched again by this version.

    Args:
        source: the text of a file, patched or not.
        filename: for messages.
        edit: what to insert.
        known: statements that an earlier version inserted.

    Raises:
        PatchError: the file does not parse, an anchor is missing, or the result is unsound.
    """
    result = rewrite(revert(source, filename, edit, known), filename, edit)
    return source if result.matches_up_to_formatting(source) else result.patched


def revert(source: str, filename: str = YOLO.name, edit: Edit = YOLO, known: Collection[str] = ()) -> str:
    """Return the source without the patch, exactly as it was before; arguments and errors are as in `stock_of`."""
    return stock_of(source, filename, edit, known)[0]


def stock_of(
    source: str, filename: str = YOLO.name, edit: Edit = YOLO, known: Collection[str] = (), force: bool = False
) -> tuple[str, Sequence[Line]]:
    """Return the source without the patch, and the edited lines that are dropped.

    Args:
        source: the text of a file, patched or not.
        filename: for messages.
        edit: what this version would insert.
        known: statements that an earlier run inserted.
        force: drop inserted lines that were edited, instead of raising an error.

    Raises:
        EditedLinesError: inserted lines were edited.
        PatchError: the rest is not valid without them, or uses our names.
    """
    if not (OUR_NAMES.search(source) or any(map(is_marker, split_lines(source)))):
        return source, []
    removal = take_out(source, filename, edit, known)
    if removal.edited and not force:
        raise EditedLinesError({filename: removal})
    stock = removal.without_edited if removal.edited else removal.own
    if removal.foreign and (stock != source or known):
        raise name_taken(removal.foreign[0], filename)
    if stock != source:
        require_valid_without(source, stock, removal, filename)
    return stock, removal.edited


def take_out(source: str, filename: str, edit: Edit, known: Collection[str]) -> Removal:
    """Remove the known statements, and those that this version would insert."""
    source = split_import(source)
    try:
        stock = remove(source, known).own
        stock = without_our_names(source, filename) if OUR_NAMES.search(stock) else stock
        inserted = rewrite(stock, filename, edit)
    except PatchError:  # this version could not have patched it
        return remove(source, known)
    statements = [*known, *inserted.statements(), *inserted.former_statements()]
    return remove(source, statements, inserted.statements())


def split_import(source: str) -> str:
    """Return the source without our name in imports of the user's names, where an import sorter may have put it."""
    try:
        imports = [node for node in parse(source, "").body if isinstance(node, ast.ImportFrom)]
    except PatchError:
        return source
    lines = split_lines(source)
    for node in imports:
        if len(node.names) > 1 and any(alias.asname == HOST for alias in node.names):
            assert node.end_lineno
            statement = "".join(lines[node.lineno - 1 : node.end_lineno])
            pattern = next(pattern for pattern in JOINED if pattern.search(statement))
            rest = pattern.sub("", statement)
            lines[node.lineno - 1 : node.end_lineno] = [rest] + [""] * (node.end_lineno - node.lineno)
    return "".join(lines)


def without_our_names(source: str, filename: str) -> str:
    """Return the source without its markers, and with `pass` for each statement that uses our names, edited or not."""
    lines = split_lines(source)
    hits = [number for number, line in enumerate(lines, 1) if OUR_NAMES.search(line)]
    replaced: set[int] = set()
    for statement in walk(parse(source, filename), ast.stmt):  # an outer one comes before those in it
        assert statement.end_lineno
        if not any(statement.lineno <= number <= statement.end_lineno for number in hits):
            continue
        head = statement.test if isinstance(statement, ast.If) else statement
        names = {node.id for node in walk(head, ast.Name)} | {node.asname for node in walk(head, ast.alias)}
        if statement.lineno not in replaced and not hasattr(head, "body") and names & {HOST, ROWS}:
            first = lines[statement.lineno - 1]
            indent = first[: len(first) - len(first.lstrip())]
            rest = [""] * (statement.end_lineno - statement.lineno)
            lines[statement.lineno - 1 : statement.end_lineno] = [f"{indent}pass\n", *rest]
            replaced.update(range(statement.lineno, statement.end_lineno + 1))
    return remove("".join(lines), ()).own


class EditedLinesError(PatchError):
    """Inserted lines were edited.

    Args:
        removals: what was found, by file name.
    """

    def __init__(self, removals: Mapping[str, Removal]) -> None:
        self.removals = dict(removals)
        versions = sorted({version for removal in removals.values() for version in removal.versions})
        lines = "".join(f"\n  {name}, {line}" for name, removal in removals.items() for line in removal.edited)
        super().__init__(
            "edited lines",
            f"these statements are not as {PROJECT} {' and '.join(versions)} inserted them, as far as can be told:"
            f"{lines}\n"
            "Keep a copy of what you have changed there, and run this again with --force, which drops these lines and "
            "no others; or restore the files from their release.",
            list(removals),
        )


def format_lines(lines: Sequence[Line]) -> str:
    """Return the lines, each on a line of its own."""
    return "".join(f"\n  {line}" for line in lines)


def require_valid_without(source: str, stock: str, removal: Removal, filename: str) -> None:
    """Check that the user's own lines do not depend on ours; a file that is invalid already is not checked.

    Raises:
        PatchError: they do; the message shows the edited lines and the user's line.
    """
    try:
        require_compiles(source, filename)
    except PatchError:
        return
    try:
        require_compiles(stock, filename)
    except PatchError as error:
        number = getattr(error.__cause__, "lineno", None) or 1
        raise PatchError(
            "own lines inside inserted ones",
            f"{filename}: without the lines that {PROJECT} inserted, the file would not be valid Python, because lines "
            f"of your own depend on them:{context_of(source, stock, number)}{format_lines(removal.edited)}\nMove your "
            "own lines out of the inserted ones, and run this again; or restore the file from its release.",
        ) from error


def context_of(source: str, stock: str, number: int) -> str:
    """Return line `number` of the stock text and the last line of code above it, with their numbers in the source."""
    lines = split_lines(source)
    places: list[int] = []
    end = 0
    for text in split_lines(stock)[:number]:
        end = next((place for place in range(end, len(lines)) if lines[place] == text), end) + 1
        if code_in(text).strip():
            places.append(end)
    return format_lines([Line(place, lines[place - 1]) for place in places[-2:]])


def name_taken(line: Line, filename: str) -> PatchError:
    """Return the error about a file that uses a name of the patch for something else."""
    return PatchError(
        "name taken",
        f"{filename}, {line}\nuses a name of the patch, {HOST} or {ROWS}, but the patch did not insert this line. "
        "Rename what it uses, or remove the line, and run this again.",
    )


def require_sound(result: Rewrite, filename: str) -> None:
    """Check that a result compiles and can be reverted exactly.

    Raises:
        PatchError: it does not, or cannot.
    """
    try:
        require_compiles(result.patched, filename)
        removal = remove(result.patched, result.statements())
        sound = removal.own == result.stock and not removal.edited
    except PatchError:
        require_compiles(result.stock, filename)
        sound = False
    if not sound:
        raise PatchError(
            "unsound result",
            f"{filename}: the lines would not fit in here. This is a bug in the patch; please report it with the "
            "file; until then, restore it from its release and run this again.",
        )
