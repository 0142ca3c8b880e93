"""Words what a run did or would do: as lines for people, or as one JSON object for machines."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from . import PROJECT, __version__
from .blocks import split_lines
from .checkout import Checkout
from .plan import Change, Plan

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
    exit_code: int = 0
    changes: list[dict[str, str]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    remaining: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    diff: str = ""
    next_command: str = ""
    verified: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, str] | None = None

    def add_plan(self, plan: Plan) -> None:
        """Take over what a plan changes, keeps and notes."""
        self.changes = [{"file": change.name, "action": action(change)} for change in plan.net_changes()]
        self.kept, self.remaining, self.notes = plan.kept, plan.remaining, plan.notes
        if self.mode == "diff":
            changes = sorted(plan.net_changes(), key=lambda change: change.before is None)  # new files last
            self.diff = "".join(line for change in changes for line in diff_lines(change))

    def show(self, as_json: bool) -> None:
        """Write the report: JSON and the diff to stdout, lines for people to stderr."""
        text = json.dumps(asdict(self), indent=1) + "\n" if as_json else self.diff
        if text and sys.stdout:  # a closed one is None
            try:
                sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
                sys.stdout.buffer.flush()
            except BrokenPipeError:  # the reader has seen enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        for line in [] if as_json else self.lines():
            print(line, file=sys.stderr)

    def lines(self) -> list[str]:
        """Return what people read."""
        if self.error:
            return [f"error: {self.error['message']}"]
        if self.mode == "diff":
            return []
        tense = {"check": 0, "apply": 1, "revert": 2}[self.mode]
        lines = [f"{WORDS[change['action']][tense]:<8} {change['file']}" for change in self.changes]
        lines += [f"{'kept':<8} {name} (you have edited it)" for name in self.kept]
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
    return f"cd {shlex.quote(str(folder))} && python {train} {options}"
