"""Takes inserted lines out of a file, also if a formatter has moved them, and no other line.

A formatter may wrap a statement, put blank lines around it, or move an import. So a statement is recognised by its
words, which the record has, and not by its place between two markers.
"""

from __future__ import annotations

import re
import token
import tokenize
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Collection, Iterable, Iterator, Sequence

from .. import PROJECT
from .blocks import BEGIN, END, HOST, ROWS, split_lines

WORDS = re.compile(r"\w+|[^\w\s(),\\]")  # without parentheses, commas and backslashes, which wrapping adds and removes
TOOL_COMMENT = re.compile(  # a comment for a tool; not the words that a person has written after it
    r"#\s*(?:noqa(?::[ A-Z0-9,]*)?|nosec|(?:fmt|isort|yapf|ruff|flake8|pylint|mypy|pyright|type|pragma):"
    r"[-\w=, \[\]]*)\s*(?=#|$)"
)
LAYOUT_TOKENS = (token.NEWLINE, tokenize.NL, token.INDENT, token.DEDENT, token.ENDMARKER)
COMMENT_OR_STRING = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""")  # strings of one line only
OUR_NAMES = re.compile(rf"\b(?:{HOST}|{ROWS})\b")
OUR_TRACES = re.compile(rf"{HOST}|{ROWS}|{PROJECT}")  # a text without any of these is not patched


@dataclass(frozen=True)
class Line:
    """One line of a file; its number is counted from 1."""

    number: int
    text: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.text.strip()}"


@dataclass(frozen=True)
class Removal:
    """A file without our lines, and what was found in it.

    Attributes:
        own: the file without inserted lines and markers.
        edited: lines in `own` between markers that are ours, but not as they were inserted.
        without_edited: `own` without the edited lines.
        foreign: other lines in `own` that use our names.
        versions: the versions in the markers, in their order.
    """

    own: str
    edited: Sequence[Line]
    without_edited: str
    foreign: Sequence[Line]
    versions: Sequence[str]


def words(text: str) -> list[str]:
    """Return the words of a text that formatters never change: no white space, quotes, or comments for tools."""
    return WORDS.findall(TOOL_COMMENT.sub("", text).replace("'", '"'))


def remove(source: str, statements: Collection[str], inserted: Sequence[str] | None = None) -> Removal:
    """Remove the markers and the given statements from `source`.

    Args:
        source: the text of a file.
        statements: what may have been inserted; a statement may occur any number of times, or not at all.
        inserted: each statement as often as it was inserted. Further occurrences are copies of the user's, unless they
            are between markers. None: every occurrence is ours.
    """
    lines = split_lines(source)
    strings = lines_in_strings(source) if OUR_TRACES.search(source) else frozenset()
    markers = {number for number, line in enumerate(lines) if is_marker(line) and number not in strings}
    found = [*find_statements(lines, statements, strings)]
    ours = {number for part in drop_copies(lines, found, markers, inserted) for number in part}
    taken = markers | ours
    taken |= set(find_blank(lines, taken))
    edited = set(find_edited(lines, taken, statements, strings))

    def without(left_out: set[int]) -> str:
        return "".join(line for number, line in enumerate(lines) if number not in left_out)

    def as_lines(numbers: Iterable[int]) -> list[Line]:
        return [Line(number + 1, lines[number]) for number in numbers]

    rest = [number for number in range(len(lines)) if number not in taken | edited | strings]
    foreign = as_lines(number for number in rest if OUR_NAMES.search(code_in(lines[number])))
    versions = [begin[1] for begin in (BEGIN.match(lines[number]) for number in sorted(markers)) if begin]
    return Removal(without(taken), as_lines(sorted(edited)), without(taken | edited), foreign, versions)


@lru_cache(maxsize=16)  # a run reads each text several times
def lines_in_strings(source: str) -> frozenset[int]:
    """Return the numbers of the lines that begin inside a string; none if the source is not valid Python."""
    if '"""' not in source and "'''" not in source:
        return frozenset()
    readline = iter(split_lines(source)).__next__
    try:
        tokens = [part for part in tokenize.generate_tokens(readline) if part.start[0] < part.end[0]]
    except (tokenize.TokenError, SyntaxError):  # IndentationError is one
        return frozenset()
    strings = [part for part in tokens if part.type not in LAYOUT_TOKENS]
    return frozenset(number for part in strings for number in range(part.start[0], part.end[0]))


def code_in(text: str) -> str:
    """Return a text without its comments and strings."""
    return COMMENT_OR_STRING.sub("", text)


def drop_copies(
    lines: Sequence[str], found: Sequence[range], markers: Collection[int], inserted: Sequence[str] | None
) -> list[range]:
    """Return the found statements without the user's copies; see `remove`."""
    if inserted is None:
        return list(found)
    expected = Counter(tuple(words(statement)) for statement in inserted)
    texts = [tuple(words("".join(lines[number] for number in part))) for part in found]
    inside = [is_between_markers(lines, part, markers) for part in found]
    counts = Counter(texts)
    # a statement of an older version is not expected, but one may be left whose markers were removed by hand
    return [
        part
        for part, text, is_inside in zip(found, texts, inside)
        if is_inside or counts[text] <= max(expected[text], 1)
    ]


def is_between_markers(lines: Sequence[str], part: range, markers: Collection[int]) -> bool:
    """Whether the last marker above begins a block that the next marker below ends."""
    above = max((number for number in markers if number < part.start), default=None)
    below = min((number for number in markers if number >= part.stop), default=None)
    return above is not None and below is not None and bool(BEGIN.match(lines[above]) and END.match(lines[below]))


def is_marker(line: str) -> bool:
    """Whether a line begins or ends a block."""
    return bool(BEGIN.match(line) or END.match(line))


def find_statements(
    lines: Sequence[str], statements: Collection[str], strings: Collection[int] = ()
) -> Iterator[range]:
    """Yield the line numbers of each occurrence of the statements, wrapped in any way, outside of strings."""
    wanted = {tuple(words(statement)) for statement in statements}
    number = 0
    while number < len(lines):
        end = end_of_statement(lines, number, wanted) if number not in strings else number
        if end > number:
            yield range(number, end)
        number = max(end, number + 1)


def end_of_statement(lines: Sequence[str], start: int, wanted: Collection[tuple[str, ...]]) -> int:
    """Return the number after the last line of the longest statement that begins at `start`; `start` if none does."""
    read: tuple[str, ...] = ()
    end = start
    for number in range(start, len(lines)):
        more = tuple(words(lines[number]))
        read += more
        if not read or not any(read == statement[: len(read)] for statement in wanted):
            break
        if more and read in wanted:
            whole = end_of_brackets(lines, start, number + 1)
            if is_whole(lines[start:whole]):
                end = whole
    return end


def is_whole(lines: Sequence[str]) -> bool:
    """Whether a statement can end with these lines: no bracket is open, and the last line is not continued."""
    return open_brackets("".join(lines)) <= 0 and not lines[-1].rstrip().endswith("\\")


def end_of_brackets(lines: Sequence[str], start: int, end: int) -> int:
    """Return the number after the lines from `end` on that only close brackets of the lines from `start` on."""
    while end < len(lines) and open_brackets("".join(lines[start:end])) > 0 and not words(lines[end]):
        end += 1
    return end


def open_brackets(text: str) -> int:
    """Return how many brackets are open at the end of a text."""
    code = code_in(text)
    return sum(map(code.count, "([{")) - sum(map(code.count, ")]}"))


def find_blank(lines: Sequence[str], taken: Collection[int]) -> Iterator[int]:
    """Yield the numbers of blank lines that a formatter has put between two lines of one block."""
    blank: list[int] = []
    after_ours = False
    for number, line in enumerate(lines):
        if not line.strip():
            blank.append(number)
            continue
        if after_ours and number in taken:
            yield from blank
        after_ours, blank = number in taken and not END.match(line), []


def find_edited(
    lines: Sequence[str], taken: Collection[int], statements: Collection[str], strings: Collection[int]
) -> Iterator[int]:
    """Yield the numbers of lines between markers that use our names, each with the rest of its statement."""
    texts = {line for statement in statements for line in statement.split("\n")}
    parts = {number for part in find_statements(lines, texts, strings) for number in part}
    inside = follows = False
    number = 0
    while number < len(lines):
        end = number + 1
        if number in taken:
            inside = bool(BEGIN.match(lines[number])) or (inside and not END.match(lines[number]))
            follows = False
        elif inside:
            while end < len(lines) and end not in taken and open_brackets("".join(lines[number:end])) > 0:
                end += 1
            uses = number not in strings and OUR_NAMES.search(code_in("".join(lines[number:end])))
            follows = bool(uses) or (follows and number in parts)
            yield from range(number, end) if follows else ()
        number = end
