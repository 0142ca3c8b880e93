"""The command line of apply_patch.py: arguments, exit codes, and the order of the steps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Sequence

from . import PROJECT, __version__
from .checkout import locate
from .errors import PatchError
from .lock import locked
from .plan import plan_apply, plan_revert
from .report import Report, next_command
from .transaction import write_changes
from .verify import verify

DONE, NOT_UP_TO_DATE, FAILED, DOES_NOT_RUN = 0, 1, 2, 3

EPILOG = (
    "exit codes: 0 done, or nothing to do; 1 --check found the checkout not patched or out of date; 2 refused or "
    "failed, nothing written; 3 --verify found that a model of ours does not run there"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Messages go to stderr; the diff and JSON to stdout."""
    options = parse_arguments(argv)
    report = Report(mode=options.mode or "apply", checkout=str(options.checkout))
    try:
        run(options, report)
    except PatchError as error:
        report.exit_code = FAILED
        report.error = {"kind": error.kind, "message": str(error)}
    except Exception as error:  # nobody should see a traceback, nor take exit code 1 for an answer
        report.exit_code = FAILED
        message = f"{type(error).__name__}: {error}. Nobody has foreseen this; please report it."
        report.error = {"kind": "unforeseen", "message": message}
    report.show(options.json)
    return report.exit_code


def run(options: argparse.Namespace, report: Report) -> None:
    """Do what is asked for and enter it into the report."""
    checkout = locate(options.checkout)
    report.checkout = str(checkout.root.absolute())
    if report.mode in ("apply", "revert"):
        with locked(checkout.root):
            plan = (plan_apply if report.mode == "apply" else plan_revert)(checkout, options.force)
            write_changes(checkout.root, plan.changes)
    else:
        plan = plan_apply(checkout, options.force)
    report.add_plan(plan)
    if report.mode == "check" and report.changes:
        report.exit_code = NOT_UP_TO_DATE
    elif options.verify:
        report.verified = verify(checkout)
        if any("missing" in outcome or "error" in outcome for outcome in report.verified):
            report.exit_code = DOES_NOT_RUN
    if report.mode == "apply" and not report.exit_code:
        report.next_command = next_command(checkout)


def folder(text: str) -> Path:
    """Return the path that an argument names; an empty one is a slip in somebody's script, not this folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line; exits with code 2 on a wrong one."""
    parser = argparse.ArgumentParser(description="Put EfficientViT backbones into a YOLOv5 checkout.", epilog=EPILOG)
    parser.add_argument("checkout", type=folder, help="a clone of YOLOv5, or the folder of the pip package yolov5")
    parser.add_argument("--version", action="version", version=f"{PROJECT} {__version__}")
    modes = parser.add_mutually_exclusive_group()
    for mode, meaning in {
        "check": "only tell whether the checkout is patched and up to date",
        "diff": "only print what would change",
        "revert": "take the patch out again",
    }.items():
        modes.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, help=meaning)
    parser.add_argument(
        "--verify", action="store_true", help="also build and run yolov5-efficientvit*.yaml there, with this Python"
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite files and lines of ours that you have edited since"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines for people")
    options = parser.parse_args(argv)
    if options.verify and options.mode not in (None, "check"):
        parser.error(f"--verify does not go with --{options.mode}")
    return options
