"""Turns the text of a host's file into the patched text and back; only ever inserts whole lines."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Collection, Sequence

from .. import PROJECT
from ..errors import PatchError
from .blocks import HOST, ROWS, Block, insert_blocks, split_lines
from .edits import YOLO, Edit
from .removal import OUR_NAMES, Line, Removal, remove, same_but_for_format
from .syntax import Lines, parse, require_compiles, walk


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

    def is_but_formatted(self, text: str) -> bool:
        """Whether `text` is the patched text, however a formatter or an import sorter has changed it."""
        imports = [statement for block in self.blocks if block.name == "import" for statement in block.statements()]
        return same_but_for_format(text, self.patched, imports)


def rewrite(stock: str, filename: str = YOLO.name, edit: Edit = YOLO) -> Rewrite:
    """Return the patched text of a file that is not patched.

    Raises:
        PatchError: the file does not parse, an anchor is missing, or the result would not be right.
    """
    for line in remove(stock, ()).foreign:
        raise name_taken(line, filename)
    blocks = edit.blocks(parse(stock, filename), Lines(stock, filename))
    result = Rewrite(stock, insert_blocks(stock, blocks), blocks)
    require_sound(result, filename)
    return result


def apply(source: str, filename: str = YOLO.name, edit: Edit = YOLO, known: Collection[str] = ()) -> str:
    """Return the patched source; of a patched source, the source patched anew by this version.

    Args:
        source: the text of a file, patched or not.
        filename: for messages.
        edit: what to insert.
        known: statements that an earlier version inserted.

    Raises:
        PatchError: the file does not parse, an anchor is missing, or the result would not be right.
    """
    result = rewrite(revert(source, filename, edit, known), filename, edit)
    return source if result.is_but_formatted(source) else result.patched


def revert(source: str, filename: str = YOLO.name, edit: Edit = YOLO, known: Collection[str] = ()) -> str:
    """Return the source without the patch, exactly as it was before; arguments and errors are those of `stock_of`."""
    return stock_of(source, filename, edit, known)[0]


def stock_of(
    source: str, filename: str = YOLO.name, edit: Edit = YOLO, known: Collection[str] = (), force: bool = False
) -> tuple[str, Sequence[Line]]:
    """Return the source without the patch, and the edited lines that it loses so.

    Args:
        source: the text of a file, patched or not.
        filename: for messages.
        edit: what this version would insert.
        known: statements that an earlier run inserted.
        force: drop inserted lines that were edited since, instead of refusing.

    Raises:
        PatchError: inserted lines were edited, or the rest does not work without them.
    """
    removal = take_out(source, filename, edit, known)
    if removal.edited and not force:
        raise edited_lines(removal, filename)
    stock = removal.without_edited if removal.edited else removal.own
    if removal.foreign and (stock != source or known):
        raise name_taken(removal.foreign[0], filename)
    if removal.edited:
        require_valid_without(stock, removal, filename)
    return stock, removal.edited


def take_out(source: str, filename: str, edit: Edit, known: Collection[str]) -> Removal:
    """Take out the known statements, and those that this version would insert."""
    removal = remove(source, known)
    if not OUR_NAMES.search(removal.own):
        return removal
    try:
        result = rewrite(without_our_names(source, filename), filename, edit)
        return remove(source, [*known, *result.statements(), *result.former_statements()])
    except PatchError:  # this version could not have patched it
        return removal


def without_our_names(source: str, filename: str) -> str:
    """Return the source without its markers and without each statement that uses our names, edited or not."""
    lines = split_lines(source)
    for statement in walk(parse(source, filename), ast.stmt):
        head = statement.test if isinstance(statement, ast.If) else statement
        names = {node.id for node in walk(head, ast.Name)} | {node.asname for node in walk(head, ast.alias)}
        if not hasattr(head, "body") and names & {HOST, ROWS}:
            assert statement.end_lineno
            lines[statement.lineno - 1 : statement.end_lineno] = [""] * (statement.end_lineno - statement.lineno + 1)
    return remove("".join(lines), ()).own


def edited_lines(removal: Removal, filename: str) -> PatchError:
    """Return the refusal to drop lines that are not as they were inserted."""
    versions = " and ".join(sorted(set(removal.versions)))
    return PatchError(
        "edited lines",
        f"{filename} was patched by {PROJECT} {versions}, and these lines are not as it inserted them, as far as can "
        f"be told:{format_lines(removal.edited)}\nKeep a copy of what you have changed there, and run this again with "
        "--force, which drops these lines and no others; or restore the file from its release.",
    )


def format_lines(lines: Sequence[Line]) -> str:
    """Return the lines, each on a line of its own."""
    return "".join(f"\n  {line}" for line in lines)


def require_valid_without(stock: str, removal: Removal, filename: str) -> None:
    """Refuse to drop edited lines where a line of the user's depends on them.

    Raises:
        PatchError: the message shows the edited lines.
    """
    try:
        require_compiles(stock, filename)
    except PatchError as error:
        raise PatchError(
            "own lines inside inserted ones",
            f"{filename}: without these lines, which are not as {PROJECT} inserted them, the file would not be valid "
            f"Python:{format_lines(removal.edited)}\nMove your own lines out of these, and run this again; or restore "
            "the file from its release.",
        ) from error


def name_taken(line: Line, filename: str) -> PatchError:
    """Return the refusal of a file that uses a name of the patch for something else."""
    return PatchError(
        "name taken",
        f"{filename}, {line}\nuses a name of the patch, {HOST} or {ROWS}, but the patch did not insert this line. "
        "Rename what it uses, or remove the line, and run this again.",
    )


def require_sound(result: Rewrite, filename: str) -> None:
    """Refuse, rather than write, a result that does not compile or cannot be taken back exactly."""
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
            f"{filename}: the lines would not fit in here, and nobody has foreseen why. Please report this with the "
            "file; until then, restore it from its release and run this again.",
        )
