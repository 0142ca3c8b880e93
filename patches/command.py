"""The command line of apply_patch.py: arguments, exit codes, and the order of the steps."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Sequence

from . import PROJECT, __version__
from .errors import PatchError
from .install.checkout import Checkout, locate
from .install.lock import locked
from .install.plan import Change, Plan, plan_apply, plan_revert
from .install.transaction import write_changes
from .output import write
from .report import DOES_NOT_RUN, FAILED, NOT_UP_TO_DATE, Report, next_command, revert_command
from .show import show
from .trial.verify import verify

EPILOG = (
    "exit codes: 0 done, or nothing to do; 1 --check found the checkout not patched or out of date; 2 refused, failed "
    "or interrupted, and every file is as it was; 3 --verify found that a model of ours does not run there; 4 failed "
    "or interrupted after files had been changed. It is a failure if JSON or a diff cannot be written to standard "
    "output; messages for people that cannot be written change no code."
)


class UsageError(Exception):
    """The arguments are wrong."""


class Parser(argparse.ArgumentParser):
    """A parser that raises errors instead of printing them and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. Give other arguments; --help tells which.\n{self.format_usage().rstrip()}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print the help; the reader may have closed the pipe, which argparse ignores only since Python 3.11.4."""
        with suppress(BrokenPipeError):
            super()._print_message(message, file)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit after --help or --version; the exit code tells if their text could not be written."""
        problem = write(sys.stdout, "") if sys.stdout else ""
        super().exit(FAILED if problem else status, message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Messages go to stderr; the diff and JSON to stdout."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    report = Report(mode="", checkout="")
    verbose = False
    try:
        options = parse_arguments(arguments)
        report.mode, report.checkout = options.mode or "apply", str(options.checkout)
        verbose = options.verbose
        run(options, report)
    except UsageError as error:
        report.fail("usage", str(error))
    except PatchError as error:
        report.fail(error.kind, str(error), error.files)
    except KeyboardInterrupt:
        report.fail("interrupted", f"interrupted. {report.state_of_files()}")
    except Exception as error:  # instead of a traceback and exit code 1, which means something else
        message = f"{type(error).__name__}: {error}. This is a bug in the patch; please report it."
        report.fail("unforeseen", f"{message} {report.state_of_files()}")
    show(report, asks_for_json(arguments), verbose)
    return report.exit_code


def run(options: argparse.Namespace, report: Report) -> None:
    """Run the chosen mode and enter the results into the report."""
    checkout = locate(options.checkout)
    report.checkout = str(checkout.root.absolute())
    if report.mode in ("apply", "revert"):
        with locked(checkout.root) as report.notes:
            plan = (plan_apply if report.mode == "apply" else plan_revert)(checkout, options.force)
            write_plan(plan, checkout, report)
    else:
        report.add_plan(plan_apply(checkout, options.force))
    if report.mode == "check" and report.changes:
        report.exit_code = NOT_UP_TO_DATE
    elif options.verify:
        report.verified = verify(checkout)
        if any("missing" in outcome or "error" in outcome for outcome in report.verified):
            report.exit_code = DOES_NOT_RUN
    if report.mode == "apply" and not report.exit_code:
        report.next_command = next_command(checkout)
        report.revert_command = revert_command(checkout)


def write_plan(plan: Plan, checkout: Checkout, report: Report) -> None:
    """Write a plan and enter it into the report; if writing fails, enter only what is on disk then."""
    try:
        write_changes(checkout.root, plan.changes)
        report.add_plan(plan)
    except BaseException:
        report.add_changes(changes_on_disk(plan, checkout))
        raise


def changes_on_disk(plan: Plan, checkout: Checkout) -> list[Change]:
    """Return the changes of those files that differ from before and are as one of the plan's steps leaves them."""
    before = {change.name: change.before for change in reversed(plan.changes)}
    steps = {(change.name, change.after) for change in plan.changes}
    found = []
    for name in sorted(before):
        with suppress(PatchError):  # a file that cannot be read any more is named by the error of the run
            found.append(Change(name, before[name], checkout.read(name)))
    return [change for change in found if change.after != change.before and (change.name, change.after) in steps]


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether --json, or an abbreviation of it, is among the arguments, even if others are wrong."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(len(option) > 2 and "--json".startswith(option.partition("=")[0]) for option in options)


def checkout_path(text: str) -> Path:
    """Return the path in an argument; an empty one is a mistake in a script, not the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    if "\0" in text:
        raise argparse.ArgumentTypeError("it holds a NUL character, which no path may hold")
    return Path(text)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line.

    Raises:
        UsageError: they are wrong.
    """
    parser = Parser(description="Put EfficientViT backbones into a YOLOv5 checkout.", epilog=EPILOG)
    parser.add_argument(
        "checkout", type=checkout_path, help="a clone of YOLOv5, or the folder of the pip package yolov5"
    )
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
    parser.add_argument(
        "--json",
        action="store_true",
        help=r"print one JSON object instead of lines for people; a byte of a path that is not UTF-8 reads \xff in it",
    )
    parser.add_argument("--verbose", action="store_true", help="list every file, and what --verify found of each model")
    options = parser.parse_args(arguments)
    if options.verify and options.mode not in (None, "check"):
        parser.error(f"--verify does not go with --{options.mode}")
    return options
