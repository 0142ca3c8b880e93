"""A patched checkout stays patched when its owner's formatters go over it, and reverts to the formatted original."""

import shutil
import subprocess
import sys

import pytest

import apply_patch
from patches import __version__
from patches.source.edits import EDITS
from tests.patches.install.test_transaction import tree

FORMATTERS = {
    "isort": ["isort", "--quiet"],
    "isort, Black's profile": ["isort", "--quiet", "--profile=black", "--force-sort-within-sections"],
    "isort, short lines": ["isort", "--quiet", "--line-length=40", "--multi-line=3", "--force-single-line-imports"],
    "ruff check --select I": ["ruff", "check", "--quiet", "--isolated", "--select=I", "--fix"],
    "ruff format": ["ruff", "format", "--quiet", "--isolated"],
    "black": ["black", "--quiet", "--fast"],  # the same text, without Black's proof that it is stable
    "black, short lines": ["black", "--quiet", "--fast", "--line-length=60"],
    "yapf": ["yapf", "--in-place", "--style={based_on_style: pep8, column_limit: 120}"],
    "yapf, short lines": ["yapf", "--in-place", "--style={based_on_style: google, column_limit: 50}"],
    "autopep8": ["autopep8", "--in-place", "--aggressive"],
}
EDITED = [edit.name for edit in EDITS]


def run(*arguments):
    return apply_patch.main(list(map(str, arguments)))


def reformat(checkout, formatter, also_ours=True):
    """Let a formatter go over what is patched, and over all that is installed, and tell whether a host's file changed."""
    names = [name for name in EDITED if (checkout / name).is_file()]
    before = [(checkout / name).read_bytes() for name in names]
    ours = sorted((checkout / "models/backbone").rglob("*.py")) if also_ours else []
    paths = [*(checkout / name for name in names), *ours]
    done = subprocess.run(
        [sys.executable, "-m", *FORMATTERS[formatter], *map(str, paths)], cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0 or "ruff" in formatter, done.stderr
    return before != [(checkout / name).read_bytes() for name in names]


def code_of(checkout):
    """Return the lines of the host's files that are not blank; a formatter puts blank lines around ours."""
    files = [checkout / name for name in EDITED]
    return {path.name: path.read_text(encoding="utf-8").split() for path in files if path.is_file()}


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_on_the_miniature_host(checkout, formatter):
    goes_through(checkout, formatter)


@pytest.mark.parametrize("formatter", ["isort", "ruff check --select I", "black, short lines"])
def test_on_real_yolov5(real_checkout, tmp_path, formatter):
    checkout = tmp_path / "yolov5"
    shutil.copytree(real_checkout, checkout, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    changed = goes_through(checkout, formatter, also_ours=False)  # the miniature host shows that these stay
    assert changed or formatter == "isort", "isort has nothing to do in v5.0"


def goes_through(checkout, formatter, also_ours=True):
    """Format, check, apply, update and revert a patched checkout, and compare it with a formatted one."""
    stock = checkout.parent / "stock" / checkout.name  # an import sorter may know a package by its folder's name
    shutil.copytree(checkout, stock)
    reformat(stock, formatter, also_ours)
    assert run(checkout) == 0
    ours = tree(checkout / "models/backbone")

    changed = reformat(checkout, formatter, also_ours)
    assert tree(checkout / "models/backbone") == ours, "the formatter is told to leave our files alone"
    formatted = tree(checkout)
    assert run(checkout, "--check") == 0
    assert run(checkout) == 0
    assert tree(checkout) == formatted

    yolo = checkout / "models/yolo.py"
    yolo.write_text(yolo.read_text(encoding="utf-8").replace(f" {__version__}: ", " 0.0.9: "), encoding="utf-8")
    assert run(checkout, "--check") == 1
    assert run(checkout) == 0
    assert f" {__version__}: " in yolo.read_text(encoding="utf-8")

    reformat(checkout, formatter, also_ours)
    assert run(checkout, "--revert") == 0
    reformat(checkout, formatter, also_ours)
    assert code_of(checkout) == code_of(stock)
    return changed
