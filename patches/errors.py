"""The errors that users see."""

from __future__ import annotations

from typing import Sequence


class PatchError(Exception):
    """The patch cannot be applied, checked or reverted; nothing has been written.

    The message says what failed, why, and what to do.

    Attributes:
        kind: the reason in two or three words, for `--json` and for the survey, which counts the kinds.
        files: all files that the error is about, of which the message names the first few.
    """

    def __init__(self, kind: str, message: str, files: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.files = files


class AnchorMissingError(PatchError):
    """A file has no statement beside which lines would be inserted."""

    def __init__(self, filename: str, what: str) -> None:
        super().__init__(
            f"no {what.split(' (')[0]}",
            f"{filename}: found no {what}, so this is not a file of YOLOv5 or a relative that the patch understands. "
            "Give it a YOLOv5 checkout, or restore the file from its release and run this again.",
        )
