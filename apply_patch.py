#!/usr/bin/env python3
"""Put EfficientViT backbones into a YOLOv5 checkout.

Use: python apply_patch.py path/to/yolov5

Needs Python 3.8 and nothing else.
"""

from __future__ import annotations

import argparse
import difflib
import shlex
import sys
from pathlib import Path
from typing import Sequence

from patches import PROJECT, __version__
from patches.checkout import Checkout, locate
from patches.errors import PatchError
from patches.plan import Change, Plan, plan_apply, plan_revert
from patches.transaction import write_changes

DONE, NOT_UP_TO_DATE, FAILED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. The diff goes to stdout, messages to stderr."""
    options = parse_arguments(argv)
    try:
        checkout = locate(options.checkout)
        if options.revert:
            return revert(checkout)
        plan = plan_apply(checkout)
        if options.diff:
            sys.stdout.writelines(line for change in plan.changes for line in diff_lines(change))
            return DONE
        if options.check:
            return check(checkout, plan)
        return apply(checkout, plan)
    except PatchError as error:
        say(f"error: {error}")
        return FAILED


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line; exits with code 2 on a wrong one."""
    parser = argparse.ArgumentParser(
        description="Put EfficientViT backbones into a YOLOv5 checkout.",
        epilog="exit codes: 0 done, or nothing to do; 1 --check found the checkout not patched or out of date; "
        "2 refused or failed, nothing written",
    )
    parser.add_argument("checkout", type=Path, help="a clone of YOLOv5, or the folder of the pip package yolov5")
    parser.add_argument("--version", action="version", version=f"{PROJECT} {__version__}")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="only tell whether the checkout is patched and up to date")
    mode.add_argument("--diff", action="store_true", help="only print what would change")
    mode.add_argument("--revert", action="store_true", help="take the patch out again")
    return parser.parse_args(argv)


def apply(checkout: Checkout, plan: Plan) -> int:
    """Install, and say what to type next."""
    write_changes(checkout.root, plan.changes)
    if plan.changes:
        tell(plan, {"create": "created", "update": "updated", "remove": "removed"})
    else:
        say(f"{checkout.root} is patched and up to date; nothing to do.")
    say("\nTrain with:\n  " + next_command(checkout))
    return DONE


def revert(checkout: Checkout) -> int:
    """Take the patch out."""
    plan = plan_revert(checkout)
    write_changes(checkout.root, plan.changes)
    tell(plan, {"create": "created", "update": "restored", "remove": "removed"})
    for name in plan.kept:
        say(f"kept     {name} (you have edited it)")
    say(f"{checkout.root} is {'as it was before the patch' if plan.changes else 'not patched; nothing to do'}.")
    return DONE


def check(checkout: Checkout, plan: Plan) -> int:
    """Say whether there is anything to do."""
    if not plan.changes:
        say(f"{checkout.root} is patched and up to date ({PROJECT} {__version__}).")
        return DONE
    say(f"{checkout.root} is not patched, or out of date; applying {PROJECT} {__version__} would:")
    tell(plan, {"create": "create", "update": "update", "remove": "remove"})
    return NOT_UP_TO_DATE


def tell(plan: Plan, words: dict[str, str]) -> None:
    """Say what becomes, or became, of each file."""
    for change in plan.changes:
        kind = "create" if change.before is None else "remove" if change.after is None else "update"
        say(f"{words[kind]:<8} {change.name}")


def diff_lines(change: Change) -> list[str]:
    """Return a change as a unified diff that `git apply` and `patch` understand."""
    before, after = ((content or b"").decode("utf-8", "replace") for content in (change.before, change.after))
    old = "/dev/null" if change.before is None else f"a/{change.name}"
    new = "/dev/null" if change.after is None else f"b/{change.name}"
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), old, new)
    return [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines]


def next_command(checkout: Checkout) -> str:
    """Return the command that trains, ready to paste."""
    options = "--cfg yolov5-efficientvit.yaml --weights '' --data coco128.yaml"
    folder, train = (checkout.root.parent, "-m yolov5.train") if checkout.is_package else (checkout.root, "train.py")
    return f"cd {shlex.quote(str(folder))} && python {train} {options}"


def say(message: str) -> None:
    """Write a message; stdout is kept for the diff."""
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
