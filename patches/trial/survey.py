"""Tries the patch on every checkout below a folder, in memory, and prints where it applies, and why not elsewhere.

Use: python -m patches.trial.survey FOLDER [--run] [--markdown]

It plans, compiles, applies again and reverts each. With --run, it patches a copy, and builds each of our model yamls
there with this Python, runs it, takes a training step and fuses it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

from ..errors import PatchError
from ..install.checkout import HOST_FILE, Checkout, decode
from ..install.plan import plan_apply, plan_revert
from ..install.transaction import write_changes
from ..source.rewrite import apply, revert
from .verify import run_probe, verify

# Checkouts that no patch can work in: broken ones, and those with a hand-made patch.
NOT_ELIGIBLE = ("not valid Python", "conflict markers", "not text", "hand-made patch", "stock does not run")


@dataclass(frozen=True)
class Outcome:
    """The outcome for one checkout."""

    name: str
    kind: str  # "applies", or the reason of the refusal in two or three words
    detail: str


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each checkout, and the totals; return 0 if every eligible one can be patched."""
    parser = argparse.ArgumentParser(prog="python -m patches.trial.survey", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", action="store_true", help="also patch a copy of each, build, run, train, and fuse")
    parser.add_argument("--markdown", action="store_true", help="print a table")
    options = parser.parse_args(argv)
    checkouts = list(find_checkouts(options.folder))
    if not checkouts:
        parser.error(f"{options.folder} holds no {HOST_FILE}, at any depth")
    row = "| {} | {} | {} |" if options.markdown else "{:<56} {:<24} {}"
    if options.markdown:
        print(row.format("checkout", "outcome", "notes"), row.format("---", "---", "---"), sep="\n")
    outcomes = []
    for root in checkouts:
        outcome = examine(root, root.relative_to(options.folder).as_posix(), options.run)
        print(row.format(outcome.name, outcome.kind, outcome.detail), flush=True)
        outcomes.append(outcome)
    print("\n" + totals(outcomes))
    return int(any(outcome.kind not in ("applies", *NOT_ELIGIBLE) for outcome in outcomes))


def find_checkouts(folder: Path) -> Iterator[Path]:
    """Yield the root of every checkout below a folder, in order."""
    for path in sorted(folder.rglob(HOST_FILE)):
        yield path.parents[1]


def examine(root: Path, name: str, run: bool) -> Outcome:
    """Try the patch on one checkout, and return the outcome."""
    try:
        plan = plan_apply(Checkout(root))
        check_round_trip(root)
    except PatchError as error:
        return Outcome(name, error.kind, str(error).replace(str(root), "").split(". ")[0].lstrip("/"))
    detail = "; ".join(plan.notes)
    if run:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, root.name)
            shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".git", "runs", "__pycache__"))
            failures = run_models(Checkout(copy))
            if failures:
                stock = run_stock_model(Checkout(copy))
                kind = "stock does not run" if stock else "does not run"
                return Outcome(name, kind, stock or failures[0])
        if not any("left out" in note for note in plan.notes):
            detail = "; ".join(["built, run, trained and fused", *plan.notes])
    return Outcome(name, "applies", detail)


def check_round_trip(root: Path) -> None:
    """Patch models/yolo.py in memory, and check that it compiles, applies again to the same, and reverts exactly."""
    content = Checkout(root).read(HOST_FILE)
    assert content is not None
    text, encoding = decode(content, HOST_FILE)
    patched = apply(text)
    compile(patched.encode(encoding), HOST_FILE, "exec", dont_inherit=True)
    assert apply(patched) == patched
    assert revert(patched).encode(encoding) == content or revert(text) != text


def run_models(checkout: Checkout) -> list[str]:
    """Patch a checkout, build and run our yamls there, revert, and return what went wrong."""
    before = {path: path.read_bytes() for path in sorted(checkout.root.rglob("*")) if path.is_file()}
    write_changes(checkout.root, plan_apply(checkout).changes)
    outcomes = verify(checkout, thorough=True)
    write_changes(checkout.root, plan_revert(checkout).changes)
    after = {path: path.read_bytes() for path in sorted(checkout.root.rglob("*")) if path.is_file()}
    failures = [f"needs {outcome['missing']}" for outcome in outcomes if "missing" in outcome]
    failures += [f"{outcome['yaml']}: {outcome['error']}" for outcome in outcomes if "error" in outcome]
    return failures + ["reverting left a difference"] * (after != before)


def run_stock_model(checkout: Checkout) -> str:
    """Build and run a model of the host's own, with the patch taken out, and return what went wrong."""
    write_changes(checkout.root, plan_revert(checkout).changes)
    stock_yamls = [path for path in sorted(checkout.root.rglob("*.yaml")) if b"backbone:" in path.read_bytes()]
    if not stock_yamls:
        return ""
    outcome = run_probe(checkout, stock_yamls[:1], ["--thorough"])[0]
    if "missing" in outcome:
        return f"needs {outcome['missing']}"
    return f"{stock_yamls[0].name}: {outcome['error']}" if "error" in outcome else ""


def totals(outcomes: Sequence[Outcome]) -> str:
    """Return the number of outcomes of each kind as lines."""
    counts = Counter(outcome.kind for outcome in outcomes)
    eligible = len(outcomes) - sum(counts[kind] for kind in NOT_ELIGIBLE)
    lines = [f"{count:>5}  {kind}" for kind, count in counts.most_common()]
    lines.append(
        f"{counts['applies']} of {eligible} that are neither broken nor patched by hand already, of {len(outcomes)}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
