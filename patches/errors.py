"""The one error a user sees."""


class PatchError(Exception):
    """The patch cannot be applied, checked or taken back; nothing has been written.

    The message says what failed, why, and what to do.
    """
