"""Takes inserted lines out of a file again, wherever a formatter has put them, and no other line.

A formatter may wrap a statement, put blank lines around it, or move an import. So a statement is known by its words, as
the record has them, and not by its place between two markers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Collection, Iterable, Iterator, Sequence

from .blocks import BEGIN, END, HOST, ROWS, split_lines

WORDS = re.compile(r"\w+|[^\w\s(),\\]")  # parentheses, commas and backslashes come and go where lines are wrapped
FOR_TOOLS = re.compile(r"#\s*(?:noqa|type:|fmt:|isort:|yapf:|ruff:|flake8:|pylint:|mypy:|pyright:|pragma:|nosec).*")
OUR_NAMES = re.compile(rf"\b(?:{HOST}|{ROWS})\b")


@dataclass(frozen=True)
class Line:
    """One line of a file; its number is counted from 1."""

    number: int
    text: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.text.strip()}"


@dataclass(frozen=True)
class Removal:
    """What is left of a file without our lines, and what was found in it.

    Attributes:
        own: the file without the lines that were inserted, and without their markers.
        edited: lines still in `own` that stand between markers and are ours, but not as they were inserted.
        without_edited: `own` without these.
        foreign: other lines in `own` that use our names.
        versions: those in the markers, in their order.
    """

    own: str
    edited: Sequence[Line]
    without_edited: str
    foreign: Sequence[Line]
    versions: Sequence[str]


def words(text: str) -> list[str]:
    """Return what formatters leave as it is: no white space, no parentheses, and no comment that speaks to a tool."""
    return WORDS.findall(FOR_TOOLS.sub("", text))


def remove(source: str, statements: Collection[str]) -> Removal:
    """Take the markers and the given statements out of `source`.

    Args:
        source: the text of a file.
        statements: what was inserted; a statement may stand there any number of times, or not at all.
    """
    lines = split_lines(source)
    markers = {number for number, line in enumerate(lines) if is_marker(line)}
    taken = markers | set(find_statements(lines, statements))
    taken |= set(find_blank(lines, taken))
    edited = set(find_edited(lines, taken, statements))

    def without(left_out: set[int]) -> str:
        return "".join(line for number, line in enumerate(lines) if number not in left_out)

    def shown(numbers: Iterable[int]) -> list[Line]:
        return [Line(number + 1, lines[number]) for number in numbers]

    own = [number for number in range(len(lines)) if number not in taken | edited]
    foreign = shown(number for number in own if OUR_NAMES.search(lines[number]))
    versions = [begin[1] for begin in map(BEGIN.match, lines) if begin]
    return Removal(without(taken), shown(sorted(edited)), without(taken | edited), foreign, versions)


def is_marker(line: str) -> bool:
    """Whether a line begins or ends a block."""
    return bool(BEGIN.match(line) or END.match(line))


def find_statements(lines: Sequence[str], statements: Collection[str]) -> Iterator[int]:
    """Yield the numbers of the lines that hold one of the statements, however it is wrapped."""
    wanted = {tuple(words(statement)) for statement in statements}
    number = 0
    while number < len(lines):
        end = end_of_statement(lines, number, wanted)
        yield from range(number, end)
        number = max(end, number + 1)


def end_of_statement(lines: Sequence[str], start: int, wanted: Collection[tuple[str, ...]]) -> int:
    """Return the number behind the last line of the longest statement that begins at `start`; `start` if none does."""
    read: tuple[str, ...] = ()
    end = start
    for number in range(start, len(lines)):
        more = tuple(words(lines[number]))
        read += more
        if not read or not any(read == statement[: len(read)] for statement in wanted):
            break
        if more and read in wanted:
            end = end_of_brackets(lines, start, number + 1)
    return end


def end_of_brackets(lines: Sequence[str], start: int, end: int) -> int:
    """Return the number behind the lines from `end` on that only close the brackets of those from `start` on."""
    while end < len(lines) and open_brackets("".join(lines[start:end])) > 0 and not words(lines[end]):
        end += 1
    return end


def open_brackets(text: str) -> int:
    """Return how many brackets are open at the end of a text."""
    return sum(map(text.count, "([{")) - sum(map(text.count, ")]}"))


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


def find_edited(lines: Sequence[str], taken: Collection[int], statements: Collection[str]) -> Iterator[int]:
    """Yield the numbers of lines between markers that use our names, each with what follows of its own statement."""
    parts = set(find_statements(lines, {line for statement in statements for line in statement.split("\n")}))
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
            uses = OUR_NAMES.search("".join(lines[number:end]))
            follows = bool(uses) or (follows and number in parts)
            yield from range(number, end) if follows else ()
        number = end


def same_but_for_format(first: str, second: str, moved: Collection[str]) -> bool:
    """Whether two patched texts differ only as a formatter makes them differ.

    Args:
        first: the one text.
        second: the other.
        moved: statements that an import sorter may put elsewhere.
    """
    return all(form(first, moved) == form(second, moved) for form in (order_of_words, markers_and_moved))


def order_of_words(text: str, moved: Collection[str]) -> list[str]:
    """Return the words in their order, without the markers, and without what may move."""
    return words(remove(text, moved).own)


def markers_and_moved(text: str, moved: Collection[str]) -> list[str]:
    """Return the markers, and the words of what may move, in alphabetical order."""
    lines = split_lines(text)
    markers = [line.strip() for line in lines if is_marker(line)]
    return sorted([*markers, *(word for number in find_statements(lines, moved) for word in words(lines[number]))])
