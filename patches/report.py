"""What a run did or would do, as data: the fields of the JSON object of `--json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Sequence

from . import PROJECT, __version__
from .install.checkout import Checkout
from .install.payload import OUR_ROOT
from .install.plan import Change, Plan
from .text import diff_lines, quoted, without_surrogates

DONE, NOT_UP_TO_DATE, FAILED, DOES_NOT_RUN, FAILED_HALFWAY = range(5)  # exit codes; --help says what each means


@dataclass
class Report:
    """The result of one run; the fields are those of `--json`."""

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
    is_original: bool = False
    diff: str = ""
    next_command: str = ""
    revert_command: str = ""
    verified: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None

    def add_plan(self, plan: Plan) -> None:
        """Enter the changes of a plan, what it keeps, and its notes."""
        self.add_changes(plan.net_changes())
        self.kept, self.lost, self.remaining = plan.kept, plan.lost, plan.remaining
        self.notes += plan.notes
        self.is_original = plan.is_original and not (plan.kept or plan.remaining)
        if self.mode == "diff":
            changes = sorted(plan.net_changes(), key=lambda change: change.before is None)  # new files last
            self.diff = "".join(line for change in changes for line in diff_lines(change))

    def add_changes(self, changes: Sequence[Change]) -> None:
        """Enter what happens, or has happened, to each file."""
        self.changes = [{"file": change.name, "action": action(change)} for change in changes]

    def fail(self, kind: str, message: str, files: Sequence[str] = ()) -> None:
        """Enter an error; its exit code tells whether files have been changed."""
        self.error = {"kind": kind, "message": message, "files": list(files)}
        self.exit_code = FAILED_HALFWAY if self.has_written or kind == "half written" else FAILED

    @property
    def has_written(self) -> bool:
        """Whether files on disk have been changed."""
        return self.mode in ("apply", "revert") and bool(self.changes)

    def state_of_files(self) -> str:
        """Return a sentence on whether files have been changed, for a run that ended unexpectedly."""
        if self.has_written:
            return "Files have been changed. Run this again to complete it."
        return "Nothing has been changed."

    def json(self) -> str:
        """Return all fields as one JSON object, in ASCII."""
        return json.dumps(valid_unicode(asdict(self)), indent=1) + "\n"


def valid_unicode(value: Any) -> Any:
    """Return JSON data with each text in it as valid Unicode."""
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(part) for key, part in value.items()}
    if isinstance(value, list):
        return [valid_unicode(part) for part in value]
    return without_surrogates(value) if isinstance(value, str) else value


def action(change: Change) -> str:
    """Return what a change does to its file."""
    if change.before is None:
        return "create"
    return "remove" if change.after is None else "update"


def next_command(checkout: Checkout) -> str:
    """Return the command that trains, ready to paste; "" if our yamls are left out."""
    if not (checkout.root / "models" / "yolov5-efficientvit.yaml").is_file():
        return ""
    data = "coco128.yaml" if (checkout.root / "data" / "coco128.yaml").is_file() else "path/to/data.yaml"
    options = f"--cfg yolov5-efficientvit.yaml --weights='' --data {data}"
    root = checkout.root.resolve()
    folder, train = (root.parent, f"-m {root.name}.train") if checkout.is_package else (root, "train.py")
    return f"cd {quoted(str(folder))} && python {train} {options}"


def revert_command(checkout: Checkout) -> str:
    """Return the command that reverts the patch, ready to paste in any folder."""
    script, root = OUR_ROOT / "apply_patch.py", checkout.root.resolve()
    return f"python {quoted(str(script))} {quoted(str(root))} --revert"
