"""Turns the text of a host's file into the patched text and back; only ever inserts whole lines."""

from __future__ import annotations

from .blocks import insert_blocks, remove_blocks
from .edits import HOST, ROWS, YOLO, Edit
from .errors import PatchError
from .syntax import Lines, parse, require_compiles


def apply(source: str, filename: str = "models/yolo.py", edit: Edit = YOLO) -> str:
    """Return the patched source; of a patched source, the source patched anew by this version.

    Raises:
        PatchError: the file does not parse, an anchor is missing, or the result would not be right.
    """
    original = remove_blocks(source, filename)
    for taken in (HOST, ROWS):
        if taken in original:
            raise PatchError(
                "name taken",
                f"{filename} uses the name {taken} already, which the patch needs. Rename it, or restore the file "
                "from its release, and run this again.",
            )
    tree = parse(original, filename)
    patched = insert_blocks(original, edit.blocks(tree, Lines(original, filename)))
    require_sound(patched, original, filename)
    return patched


def require_sound(patched: str, original: str, filename: str) -> None:
    """Refuse, rather than write, a result that does not compile or cannot be taken back exactly."""
    try:
        require_compiles(patched, filename)
        sound = remove_blocks(patched, filename) == original
    except PatchError:
        require_compiles(original, filename)
        sound = False
    if not sound:
        raise PatchError(
            "unsound result",
            f"{filename}: the lines would not fit in here, and nobody has foreseen why. Please report this with the "
            "file; until then, restore it from its release and run this again.",
        )


def revert(source: str, filename: str = "models/yolo.py") -> str:
    """Return the source without the patch, exactly as it was before.

    Raises:
        PatchError: a marker lacks its partner.
    """
    return remove_blocks(source, filename)
