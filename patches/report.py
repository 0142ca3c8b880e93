"""Words what a run did or would do: as lines for people, or as one JSON object for machines."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Sequence

from . import PROJECT, __version__
from .install.checkout import Checkout
from .install.plan import Change, Plan
from .output import write
from .source.blocks import split_lines

DONE, NOT_UP_TO_DATE, FAILED, DOES_NOT_RUN, FAILED_HALFWAY = range(5)  # exit codes; --help says what each means

WORDS = {  # what becomes of a file: what is said before, after applying, and after reverting
    "create": ("create", "created", "created"),
    "update": ("update", "updated", "restored"),
    "remove": ("remove", "removed", "removed"),
}


@dataclass
class Report:
    """What one run has to say; the fields are those of `--json`."""

    mode: str
    checkout: str
    project: str = PROJECT
    version: str = __version__
    exit_code: int = DONE
    changes: list[dict[str, str]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    remaining: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    diff: str = ""
    next_command: str = ""
    verified: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, str] | None = None

    def add_plan(self, plan: Plan) -> None:
        """Take over what a plan changes, keeps and notes."""
        self.add_changes(plan.net_changes())
        self.kept, self.lost, self.remaining = plan.kept, plan.lost, plan.remaining
        self.notes += plan.notes
        if self.mode == "diff":
            changes = sorted(plan.net_changes(), key=lambda change: change.before is None)  # new files last
            self.diff = "".join(line for change in changes for line in diff_lines(change))

    def add_changes(self, changes: Sequence[Change]) -> None:
        """Take over what becomes, or became, of each file."""
        self.changes = [{"file": change.name, "action": action(change)} for change in changes]

    def fail(self, kind: str, message: str) -> None:
        """Enter an error; its exit code tells whether files have been changed."""
        self.error = {"kind": kind, "message": message}
        self.exit_code = FAILED_HALFWAY if self.has_written or kind == "half written" else FAILED

    @property
    def has_written(self) -> bool:
        """Whether files on disk are no longer as they were."""
        return self.mode in ("apply", "revert") and bool(self.changes)

    def state_of_files(self) -> str:
        """Word whether files are as they were when something unexpected ended the run."""
        if self.has_written:
            return "Files have been changed. Run this again to complete it."
        return "Nothing has been changed."

    def show(self, as_json: bool) -> None:
        """Write the report: JSON and the diff to stdout, lines for people to stderr.

        Where stdout cannot be written, people read on stderr why, and what the JSON would have told.
        """
        text = self.json() if as_json else self.diff
        problem = write(sys.stdout, text.encode("utf-8", "surrogateescape")) if text else ""
        lines = [] if as_json and not problem else self.lines()
        if problem:
            message = f"standard output cannot be written: {problem}. Send it somewhere else and run this again."
            lines.append(f"error: {message}")
            if not self.error:
                self.fail("no output", message)
        write(sys.stderr, "".join(f"{without_surrogates(line)}\n" for line in lines))

    def json(self) -> str:
        """Return all fields as one JSON object, in ASCII."""
        return json.dumps(spelled(asdict(self)), indent=1) + "\n"

    def lines(self) -> list[str]:
        """Return what people read."""
        error = [f"error: {self.error['message']}"] if self.error else []
        if self.mode == "diff" or (error and not self.has_written):
            return error
        tense = {"check": 0, "apply": 1, "revert": 2}[self.mode]
        lines = [f"{WORDS[change['action']][tense]:<8} {change['file']}" for change in self.changes]
        if error:
            return lines + error
        lines += [f"{'kept':<8} {name} (you have edited it)" for name in self.kept]
        lines += [f"{'lost':<8} {line}" for line in self.lost]
        lines += [f"{'kept':<8} {name} (the patch did not install it)" for name in self.remaining]
        if self.mode == "check" and self.changes:
            lines.insert(0, f"{self.checkout} is not patched, or out of date; applying {PROJECT} {__version__} would:")
        elif self.mode == "check":
            lines.append(f"{self.checkout} is patched and up to date ({PROJECT} {__version__}).")
        elif self.mode == "revert":
            done = "as it was before the patch" if self.changes else "not patched; nothing to do"
            if self.kept or self.remaining:
                done = "without the patch, but for what is kept"
            lines.append(f"{self.checkout} is {done}.")
        elif not self.changes:
            lines.append(f"{self.checkout} is patched and up to date; nothing to do.")
        lines += [f"{'note':<8} {note}" for note in self.notes]
        lines += [line for outcome in self.verified for line in outcome_lines(outcome)]
        if self.next_command:
            lines += ["", "Train with:", f"  {self.next_command}"]
        return lines


def without_surrogates(text: str) -> str:
    r"""Return a text in which a byte that is not UTF-8 reads \xff, and any other half of a surrogate pair \ud800."""

    def spell(match: re.Match[str]) -> str:
        number = ord(match[0])
        return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"

    return re.sub("[\ud800-\udfff]", spell, text)


def spelled(value: Any) -> Any:
    """Return JSON's data with each text of it in valid Unicode."""
    if isinstance(value, dict):
        return {spelled(key): spelled(part) for key, part in value.items()}
    if isinstance(value, list):
        return [spelled(part) for part in value]
    return without_surrogates(value) if isinstance(value, str) else value


def outcome_lines(outcome: dict[str, Any]) -> list[str]:
    """Word what became of one yaml under `--verify`, or of all when nothing could be built."""
    if "missing" in outcome:
        return [f"missing  {outcome['missing']}; install it with: {outcome['command']}"]
    if "error" in outcome:
        return [f"failed   {outcome['yaml']}: {outcome['error']}"]
    return [
        f"works    {outcome['yaml']}: {outcome['backbone']} holds layers {outcome['layers']}, {outcome['detect']} is "
        f"layer {outcome['last']}; {outcome['parameters']:,} parameters, strides {outcome['strides']}"
    ]


def action(change: Change) -> str:
    """Return what a change does to its file."""
    return "create" if change.before is None else "remove" if change.after is None else "update"


def diff_lines(change: Change) -> list[str]:
    """Return a change as a unified diff that `git apply` and `patch` understand."""
    before, after = (
        split_lines((content or b"").decode("utf-8", "surrogateescape")) for content in (change.before, change.after)
    )
    old = "/dev/null" if change.before is None else name_in_diff(f"a/{change.name}")
    new = "/dev/null" if change.after is None else name_in_diff(f"b/{change.name}")
    lines = difflib.unified_diff(before, after, old, new)
    return [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines]


def name_in_diff(name: str) -> str:
    """Return a file's name as git writes it: quoted where a character would end it, with a tab behind a space."""
    if any(character < " " or character in '"\\\x7f' for character in name):
        safe = (
            chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\' else f"\\{byte:03o}" for byte in os.fsencode(name)
        )
        return f'"{"".join(safe)}"'
    return f"{name}\t" if " " in name else name


def next_command(checkout: Checkout) -> str:
    """Return the command that trains, ready to paste; nothing where our yamls are left out."""
    if not (checkout.root / "models" / "yolov5-efficientvit.yaml").is_file():
        return ""
    data = "coco128.yaml" if (checkout.root / "data" / "coco128.yaml").is_file() else "path/to/data.yaml"
    options = f"--cfg yolov5-efficientvit.yaml --weights '' --data {data}"
    root = checkout.root.resolve()
    folder, train = (root.parent, f"-m {root.name}.train") if checkout.is_package else (root, "train.py")
    return f"cd {quoted(str(folder))} && python {train} {options}"


def quoted(path: str) -> str:
    """Return a path for a shell; in the $'...' of bash and zsh, if it is not UTF-8."""
    if without_surrogates(path) == path:
        return shlex.quote(path)
    escaped = path.replace("\\", r"\\").replace("'", r"\'")
    return f"$'{without_surrogates(escaped)}'"
