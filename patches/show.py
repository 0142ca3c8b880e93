"""Prints what a run did or would do: a few lines for people, or one JSON object."""

from __future__ import annotations

import os
import sys
from pathlib import PurePosixPath
from typing import Any, Iterator, Sequence

from .output import write
from .report import Report
from .source.edits import EDITS
from .text import without_surrogates

# Verbs for our files, under --check and otherwise, and for YOLOv5's files, by the mode.
PLANNED = {"create": "Would add", "update": "Would update", "remove": "Would remove"}
DONE = {"create": "Added", "update": "Updated", "remove": "Removed"}
HOST_WORDS = {"check": "Would change", "apply": "Changed", "revert": "Took the patch out of"}


def show(report: Report, as_json: bool, verbose: bool) -> None:
    """Write a report: JSON or the diff to stdout, lines for people to stderr.

    If stdout cannot be written, stderr says why, and what the JSON would have said.
    """
    text = report.json() if as_json else report.diff
    problem = write(sys.stdout, text.encode("utf-8", "surrogateescape")) if text else ""
    lines = [] if as_json and not problem else [*lines_of(report, verbose)]
    if problem:
        message = f"standard output cannot be written: {problem}. Send it somewhere else and run this again."
        lines.append(f"error: {message}")
        if not report.error:
            report.fail("no output", message)
    write(sys.stderr, "".join(f"{without_surrogates(line)}\n" for line in lines))


def lines_of(report: Report, verbose: bool) -> Iterator[str]:
    """Yield the lines for people; one for each file if `verbose`."""
    if report.mode == "diff" and not report.diff and not report.error:
        yield f"{report.checkout} is patched and up to date. Nothing would change."
    if report.mode != "diff" and (report.has_written or not report.error):
        yield from files(report, verbose)
        if not report.error:
            yield from details(report)
            yield from outcomes(report.verified, verbose)
            yield from commands(report)
    if report.error:
        yield f"error: {report.error['message']}"
        if verbose:
            yield from (f"  {name}" for name in report.error["files"])


def files(report: Report, verbose: bool) -> Iterator[str]:
    """Yield the changes of the files, and for --check that the checkout is out of date."""
    hosts = {edit.name for edit in EDITS}
    if report.mode == "check" and report.changes:
        yield f"{report.checkout} is not patched, or out of date. {report.project} {report.version} would change it:"
    if verbose:
        end = "" if report.mode == "check" else "d"
        yield from (f"{change['action'] + end:<8} {change['file']}" for change in report.changes)
    else:
        for action, words in (PLANNED if report.mode == "check" else DONE).items():
            ours = [each["file"] for each in report.changes if each["action"] == action and each["file"] not in hosts]
            if ours:
                yield f"{words} {summarize_names(ours)}."
        changed = [each["file"] for each in report.changes if each["file"] in hosts]
        if changed:
            yield f"{HOST_WORDS[report.mode]} {enumerated(changed)}."


def details(report: Report) -> Iterator[str]:
    """Yield what is kept and dropped, the state of the checkout, and the notes."""
    yield from (f"Kept {name}: you have edited it." for name in report.kept)
    drop = "Would drop" if report.mode == "check" else "Dropped"
    yield from (f"{drop} a line of an edited statement of ours: {line}" for line in report.lost)
    yield from (f"Kept {name}: the patch does not know it as its own." for name in report.remaining)
    if report.mode == "revert" and (report.kept or report.remaining):
        yield f"{report.checkout} is without the patch, except for what is kept."
    elif report.mode == "revert":
        state = "as it was before the patch" if report.is_original else "without the patch; your own changes stay"
        yield f"{report.checkout} is {state if report.changes else 'not patched; nothing to do'}."
    elif not report.changes:
        rest = "" if report.mode == "check" else "; nothing to do"
        yield f"{report.checkout} is patched and up to date ({report.project} {report.version}){rest}."
    yield from (f"Note: {note}" for note in report.notes)


def outcomes(verified: Sequence[dict[str, Any]], verbose: bool) -> Iterator[str]:
    """Yield the outcome of each yaml under `--verify`."""
    works = [outcome for outcome in verified if "error" not in outcome and "missing" not in outcome]
    if works and not verbose:
        yield f"Built and ran {enumerated([outcome['yaml'] for outcome in works])}."
    for outcome in verified:
        if "missing" in outcome:
            yield f"Missing: {outcome['missing']}. Install it with: {outcome['command']}"
        elif "error" in outcome:
            yield f"Failed: {outcome['yaml']}: {outcome['error']}"
        elif verbose:
            yield (
                f"Works: {outcome['yaml']}: {outcome['backbone']} holds layers {outcome['layers']}, "
                f"{outcome['detect']} is layer {outcome['last']}; {outcome['parameters']:,} parameters, strides "
                f"{outcome['strides']}"
            )


def commands(report: Report) -> Iterator[str]:
    """Yield the commands that train, and that revert the patch."""
    if report.next_command:
        yield f"Train:  {report.next_command}"
    if report.revert_command:
        yield f"Revert: {report.revert_command}"


def summarize_names(names: Sequence[str]) -> str:
    """Return the name of a single file, or the number of files and their common folder."""
    if len(names) == 1:
        return names[0]
    folder = os.path.commonpath([str(PurePosixPath(name).parent) for name in names])
    return f"{len(names)} files below {folder}/"


def enumerated(names: Sequence[str]) -> str:
    """Return the names as an enumeration in a sentence."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
