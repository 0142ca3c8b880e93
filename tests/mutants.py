"""Break the code in one place at a time, and list the places where no test notices.

Use: python -m tests.mutants [MODULE ...] [--sample N] [--seed S] [--results FOLDER]. A module is a name of `TESTS`, by
default each of them. A mutant counts as caught when a test of its row fails, or takes far longer than without it. What
was found is kept in FOLDER and not run again, until the module or a test of its row changes. Tests on real checkouts are
left out. For Linux and macOS: processes are forked, so that each has torch already imported.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[1]
BACKBONE, PATCHES = "models/backbone", "patches"
TESTS = {  # module: its test files or tests, those that fail soonest first
    f"{BACKBONE}/efficientvit/attention.py": (
        *("attention", "probabilities", "efficientvit/network", "plain", "compile", "transforms"),
    ),
    f"{BACKBONE}/efficientvit/windows.py": ("attention", "efficientvit/network", "transforms"),
    f"{BACKBONE}/batch_norm.py": ("batch_norm", "efficientvit/network"),
    f"{BACKBONE}/checkpoints/read.py": ("read", "efficientvit/weights", "weights_of_timm"),
    f"{BACKBONE}/contract.py": ("contract",),
    f"{BACKBONE}/efficientvit/network.py": ("efficientvit/network", "frozen", "efficientvit/weights", "golden"),
    f"{BACKBONE}/frozen.py": ("frozen",),
    f"{BACKBONE}/yolo/rows.py": ("rows",),
    f"{BACKBONE}/yolo/running.py": ("rows",),
    f"{BACKBONE}/yolo/training.py": ("rows", "yolo/training"),
    f"{BACKBONE}/exporting.py": ("sizes", "trace", "attention"),
    f"{BACKBONE}/yolo/index_rule.py": ("index_rule", "rows"),
    f"{BACKBONE}/checkpoints/inert_pickle.py": ("inert_pickle", "read"),
    f"{BACKBONE}/yolo/layer_table.py": ("rows",),
    f"{BACKBONE}/efficientvit/layers.py": ("efficientvit/network", "golden"),
    f"{BACKBONE}/tools/list.py": ("list",),
    f"{BACKBONE}/tools/look.py": ("tools/look", "looking/picture"),
    f"{BACKBONE}/looking/capture.py": ("looking/picture", "tools/look"),
    f"{BACKBONE}/looking/checkpoint.py": ("tools/look", "looking/picture"),
    f"{BACKBONE}/looking/letterbox.py": ("looking/picture", "tools/look"),
    f"{BACKBONE}/tools/move_files.py": ("move_code", "move_files"),
    f"{BACKBONE}/tools/move_over.py": ("move_over", "move_files"),
    f"{BACKBONE}/tools/old_detector.py": ("move_over", "move_files"),
    f"{BACKBONE}/registry.py": ("rows", "timm_backbone/network::test_missing_timm_is_reported"),
    f"{BACKBONE}/yolo/keras_rows.py": ("keras_rows",),
    f"{BACKBONE}/timm_backbone/adapt.py": ("timm_backbone/network",),
    f"{BACKBONE}/timm_backbone/network.py": (
        "timm_backbone/network",
        "fuse_modes::test_a_model_of_which_nothing_can_be_folded_says_so_once",
    ),
    f"{BACKBONE}/timm_backbone/fuse.py": ("timm_backbone/network::test_fuse", "fuse_modes", "batch_norm"),
    f"{BACKBONE}/timm_backbone/plan.py": ("timm_backbone/network", "sizes"),
    f"{BACKBONE}/timm_backbone/sizes.py": ("sizes", "trace", "timm_backbone/network"),
    f"{BACKBONE}/timm_backbone/trace.py": ("trace",),
    f"{BACKBONE}/timm_backbone/weights.py": ("timm_backbone/weights",),
    f"{BACKBONE}/efficientvit/weights.py": ("efficientvit/weights", "weights_of_timm"),
    f"{PATCHES}/source/blocks.py": ("blocks", "rewrite", "removal"),
    f"{PATCHES}/command.py": ("output", "unforeseen", "apply_patch", "exit_codes"),
    f"{PATCHES}/source/edits.py": ("rewrite", "refusals"),
    f"{PATCHES}/install/lock.py": ("lock",),
    f"{PATCHES}/output.py": ("output",),
    f"{PATCHES}/source/forward.py": ("rewrite", "fuzz"),
    f"{PATCHES}/source/parse_loop.py": ("rewrite", "fuzz"),
    f"{PATCHES}/install/payload.py": ("payload", "refusals", "there_before", "odd_entries"),
    f"{PATCHES}/install/plan.py": ("apply_patch", "refusals", "left_behind"),
    f"{PATCHES}/install/record.py": ("transaction", "apply_patch", "refusals"),
    f"{PATCHES}/report.py": ("output", "apply_patch", "exit_codes"),
    f"{PATCHES}/show.py": ("output", "left_behind", "verify", "apply_patch"),
    f"{PATCHES}/text.py": ("output", "apply_patch"),
    f"{PATCHES}/source/removal.py": ("removal", "rewrite"),
    f"{PATCHES}/source/rewrite.py": ("blocks", "rewrite", "removal", "refusals"),
    f"{PATCHES}/install/conflicts.py": ("refusals", "there_before", "odd_entries"),
    f"{PATCHES}/source/syntax.py": ("blocks", "rewrite", "refusals"),
    f"{PATCHES}/source/training.py": ("rewrite", "refusals"),
    f"{PATCHES}/install/transaction.py": ("transaction", "crash_safety", "apply_patch"),
}
LEFT_OUT = (".git", ".venv*", "build", "__pycache__", ".*_cache")
PATIENCE, LEAST_SECONDS = 4, 60  # a mutant may take this many times as long as the code itself, and at least so long

EXCHANGES = [(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot)]
EXCHANGES += [(ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.FloorDiv, ast.Mod), (ast.And, ast.Or)]
OTHER = {**dict(EXCHANGES), **{second: first for first, second in EXCHANGES}}
MAPS = {  # what a function that returns maps may return instead
    "drops the last map": "({maps})[:-1]",
    "puts NaN into the second map": "[m * float('nan') if i == 1 else m for i, m in enumerate({maps})]",
}
Change = Callable[[], None]


def changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, Change]]:
    """Yield the node, a description, and what makes the change, for each place of a module."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            for place, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.AST) and field not in ("annotation", "returns", "decorator_list"):
                    for description, new in replacements(node, parent):

                        def change(field=field, place=place, new=new, parent=parent) -> None:
                            if place is None:
                                setattr(parent, field, new)
                            else:
                                getattr(parent, field)[place] = new

                        yield node, description, change


def replacements(node: ast.AST, parent: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what may stand in a node's place."""
    yield from (of_expression if isinstance(node, ast.expr) else of_statement)(node)
    if isinstance(node, ast.FunctionDef) and node.args.args:
        yield from of_function(node)
    if isinstance(parent, (ast.If, ast.IfExp, ast.While)) and node is parent.test:
        yield "negates the condition", ast.UnaryOp(ast.Not(), node)


def of_expression(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield other operators and numbers."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OTHER:
        new = OTHER[type(node.ops[0])]
        yield f"compares by {new.__name__}", ast.Compare(node.left, [new()], node.comparators)
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in OTHER:
        new = OTHER[type(node.op)]
        yield f"{new.__name__}", type(node)(**{**dict(ast.iter_fields(node)), "op": new()})
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "drops not", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield f"{value}", ast.Constant(value)


def of_statement(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield nothing in its place, or less; a local name that is not assigned would fail at once."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "drops the call", ast.Pass()
    elif isinstance(node, (ast.AugAssign, ast.Raise, ast.Assert)):
        yield f"drops the {type(node).__name__}", ast.Pass()
    elif isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple)):
        yield "drops the assignment", ast.Pass()
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.List) and node.value.elts:
        yield "returns no first item", ast.Return(ast.List(node.value.elts[1:], ast.Load()))


def of_function(node: ast.FunctionDef) -> Iterator[tuple[str, ast.AST]]:
    """Yield the function without its work, as a `fuse()` that does nothing, and with wrong maps."""
    first = node.args.args[0].arg
    argument = node.args.args[1].arg if first == "self" and len(node.args.args) > 1 else first
    docstring = node.body[:1] if ast.get_docstring(node) else []
    body = [*docstring, ast.Return(ast.Name(argument, ast.Load()))]
    yield f"{node.name} returns {argument} at once", ast.FunctionDef(**{**dict(ast.iter_fields(node)), "body": body})
    if node.returns is not None and ast.unparse(node.returns) == "list[Tensor]":
        for description, form in MAPS.items():
            yield f"{node.name} {description}", with_return(node, form)


def with_return(function: ast.FunctionDef, form: str) -> ast.AST:
    """Return the function with `form` of what it returns."""
    new = ast.parse(ast.unparse(function)).body[0]
    for node in ast.walk(new):
        if isinstance(node, ast.Return) and node.value is not None:
            node.value = ast.parse(form.format(maps=ast.unparse(node.value)), mode="eval").body
    return new


def mutants(source: str) -> dict[str, str]:
    """Return the text of each mutant by a description that begins with the line."""
    found = {}
    unchanged = ast.unparse(ast.parse(source))
    for number in range(sum(1 for _ in changes(ast.parse(source)))):
        tree = ast.parse(source)
        node, description, change = list(changes(tree))[number]
        where = f"{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"
        code = ast.get_source_segment(source, node) or ""
        change()
        text = ast.unparse(ast.fix_missing_locations(tree))
        if text != unchanged:  # as of a method that does nothing but return its argument
            found[f"{where} {description}: {' '.join(code.split())[:90]}"] = text
    return found


def run_tests(copy: Path, tests: list[str]) -> None:
    """Run the test files of a copy of the repository, in this process, which ends with pytest's exit code."""
    os.setsid()  # so that it can be ended together with its own children
    os.chdir(copy)
    with open(copy.parent / "output", "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "models", "patches")]:
        del sys.modules[name]  # of the repository itself
    sys.path[0] = str(copy)
    import pytest

    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-c", str(copy / "pyproject.toml"), *tests])))


def outcome(copy: Path, tests: list[str], seconds: float) -> str:
    """Return `survived`, `caught`, or `too slow`, which counts as caught."""
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(copy, tests))
    process.start()
    process.join(seconds)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return "too slow"
    return "caught" if process.exitcode else "survived"


def find_test_file(name: str) -> Path:
    """Return the file of tests that the table above calls `name`, with its folder where two are alike."""
    folder, slash, name = name.rpartition("/")
    (path,) = (REPOSITORY / "tests").rglob(f"{folder}{slash}test_{name}.py")
    return path


def examine(copy: Path, module: str, path: Path, sample: int, seed: int) -> dict[str, str]:
    """Run the mutants of a module that are not in the results yet, and return the outcomes of all by description."""
    source = (REPOSITORY / module).read_text(encoding="utf-8")
    names = [name.partition("::") for name in TESTS[module]]
    paths = [find_test_file(name) for name, _, _ in names]
    tests = [f"{path.relative_to(REPOSITORY)}{colons}{test}" for path, (_, colons, test) in zip(paths, names)]
    texts = [source, *(path.read_text(encoding="utf-8") for path in paths)]
    state = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    known = json.loads(path.read_text()) if path.is_file() else {}
    outcomes: dict[str, str] = known["outcomes"] if known.get("state") == state else {}
    found = mutants(source)
    chosen = random.Random(seed).sample(sorted(found), min(sample or len(found), len(found)))
    start = time.monotonic()
    if set(chosen) - set(outcomes) and outcome(copy, tests, 3600) != "survived":
        message = (copy.parent / "output").read_text()[-2000:]
        raise SystemExit(f"{message}\nthe tests of {module} fail without a mutation; mend {' '.join(tests)} first")
    seconds = max(LEAST_SECONDS, PATIENCE * (time.monotonic() - start))
    for description in chosen:
        if description not in outcomes:
            (copy / module).write_text(found[description], encoding="utf-8")
            outcomes[description] = outcome(copy, tests, seconds)
            path.write_text(json.dumps({"state": state, "outcomes": outcomes}, indent=1) + "\n")
            print(f"{outcomes[description]:>9}  {module}:{description}", flush=True)
    (copy / module).write_text(source, encoding="utf-8")
    return {description: outcomes[description] for description in chosen}


def main() -> None:
    """Examine the modules, then list the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as patches/source/blocks.py")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="so many mutants of each module; 0: all")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "build" / "mutants", metavar="FOLDER")
    options = parser.parse_args()
    unknown = [module for module in options.modules if module not in TESTS]
    if unknown:
        parser.error(f"{', '.join(unknown)} has no row in TESTS; its modules are {', '.join(TESTS)}")
    options.results.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    import timm  # noqa: F401 - for the processes that are forked

    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # some tests run as another user
        copy = Path(folder).resolve() / "copy"
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        survivors = {}
        for module in options.modules or TESTS:
            path = options.results / (module.replace("/", ".") + ".json")
            outcomes = examine(copy, module, path, options.sample, options.seed)
            survivors[module] = [what for what, outcome in outcomes.items() if outcome == "survived"]
            print(f"{module}: {len(survivors[module])} of {len(outcomes)} survived", flush=True)
    print(
        "".join(f"{module}:{what}\n" for module, what_survived in survivors.items() for what in sorted(what_survived))
    )


if __name__ == "__main__":
    main()
