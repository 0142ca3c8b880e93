"""docs/the-patch.md shows what is really inserted, and its tables say what really happens."""

import json
import os
import re
import shutil
import subprocess
import textwrap

import pytest

import apply_patch
from patches import __version__
from patches.install.payload import PACKAGE
from patches.install.record import NAME as RECORD
from tests import REPOSITORY
from tests.conftest import MINIHOST, RELEASES, block_names
from tests.patches.install.test_apply_patch import make_old
from tests.patches.install.test_refusals import PATCHED, UNPATCHED, YOLO, edit, write
from tests.patches.install.test_transaction import tree
from tests.project.test_commands import FENCE

PAGE = (REPOSITORY / "docs" / "the-patch.md").read_text(encoding="utf-8")
YAML = "models/yolov5-efficientvit.yaml"
MODES = (["--check"], [], ["--revert"], ["--force"], ["--revert", "--force"])


def section(heading):
    """Return the text below a heading, up to the next; a comment of Python is not one."""
    _, _, rest = PAGE.partition(f"\n{heading}\n")
    assert rest, heading
    return re.split(r"^##+ ", rest, flags=re.MULTILINE)[0]


def rows(heading):
    """Return the cells of the first table below a heading, without its head."""
    table = re.search(r"(?:^\|.*\n)+", section(heading), re.MULTILINE)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def release(number):
    found = [path for path in RELEASES if path.parent.name == number]
    if not found:
        pytest.skip(f"YOLOv5 {number} is not here; `make test` unpacks it")
    return found[0]


def patched_copy(number, tmp_path, capsys):
    """Return a release with the patch, and the diff that apply_patch.py showed before."""
    root = tmp_path / "yolov5"
    shutil.copytree(release(number), root, ignore=shutil.ignore_patterns("__pycache__"))
    assert apply_patch.main([str(root), "--diff"]) == 0
    diff = capsys.readouterr().out
    assert apply_patch.main([str(root)]) == 0
    return root, diff


def inserted(diff, name):
    """Return the lines that a diff adds to a file, each block at the left margin, as in a clone."""
    (part,) = (part for part in diff.split("\n--- ") if part.split("\n")[1] == f"+++ b/{name}")
    added = "".join(f"{line[1:]}\n" for line in part.splitlines()[2:] if line.startswith("+"))
    blocks = re.split(r"(?<=# <<< yolov5-efficientvit\n)", added)
    text = "".join(map(textwrap.dedent, blocks)).replace("yolov5.models", "models").replace(__version__, "X.Y.Z")
    return text.splitlines()


@pytest.mark.parametrize("name", ["models/yolo.py", "train.py", "models/tf.py"])
def test_the_lines_shown_are_those_inserted(name, tmp_path, capsys):
    ((_, shown),) = FENCE.findall(section(f"### `{name}`"))
    _, diff = patched_copy("7.0.14", tmp_path, capsys)
    assert shown.splitlines() == [f"+{line}" for line in inserted(diff, name)]


@pytest.mark.parametrize(("number", "column"), [("5.0.5", 1), ("7.0.14", 2)])
def test_the_blocks_of_each_file(number, column, tmp_path, capsys):
    root, _ = patched_copy(number, tmp_path, capsys)
    told = {row[0].strip("`"): re.findall(r"`(\w+)`", row[column]) for row in rows("## Changed files")}
    found = {
        name: sorted(block_names((root / name).read_text("utf-8"))) if (root / name).is_file() else [] for name in told
    }
    assert {name: sorted(blocks) for name, blocks in told.items()} == found
    assert not [
        path for path in root.rglob("*.py") if path.relative_to(root).as_posix() not in told and is_changed(path)
    ]


def is_changed(path):
    return PACKAGE not in path.as_posix() and b"# >>> yolov5-efficientvit" in path.read_bytes()


def test_what_is_created(tmp_path, capsys):
    root, _ = patched_copy("7.0.14", tmp_path, capsys)
    before = release("7.0.14")
    new = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    new -= {path.relative_to(before) for path in before.rglob("*")}
    patterns = re.findall(r"^- `([^`]+)`", section("## Created files"), re.MULTILINE)
    assert not [name for name in new if not any(name.match(pattern) or is_below(name, pattern) for pattern in patterns)]
    assert all(any(name.match(pattern) or is_below(name, pattern) for name in new) for pattern in patterns)


def is_below(name, pattern):
    return pattern.endswith("/") and name.as_posix().startswith(pattern)


def test_the_record_holds_what_the_page_says(checkout, run):
    run()
    keys = [row[0].strip("`") for row in rows("## The record")]
    assert set(json.loads((checkout / RECORD).read_text())) <= set(keys)
    (checkout / PACKAGE).mkdir(exist_ok=True)
    run("--revert")
    (checkout / PACKAGE).mkdir()
    run()
    assert set(json.loads((checkout / RECORD).read_text())) == set(keys)


def test_the_keys_of_json(checkout, run):
    ((_, shown),) = FENCE.findall(section("## `--json`"))
    seen = json.loads(run("--json")[1])
    example = json.loads(shown)
    assert list(example) == list(seen)
    assert [type(value) for value in example.values()] == [type(value) for value in seen.values()]
    assert example["changes"][0].keys() == seen["changes"][0].keys()
    keys = [row[0].strip("`") for row in rows("## `--json`")]
    assert keys == list(seen)


def test_an_error_in_json(checkout, run):
    (checkout / "models" / "yolo.py").unlink()
    error = json.loads(run("--json")[1])["error"]
    told = next(row[1] for row in rows("## `--json`") if row[0] == "`error`")
    assert re.findall(r"`(\w+)`", told) == ["null", *error]


def patched(damage):
    def prepare(checkout, run):
        assert run()[0] == 0
        damage(checkout)

    return prepare


def unpatched(damage):
    return lambda checkout, run: damage(checkout)


CASES = {
    "no patch": unpatched(lambda root: None),
    "the patch, up to date": patched(lambda root: None),
    "an older version of the patch": patched(make_old),
    "your own lines in a patched file": patched(lambda root: edit(root / YOLO, "TABLE = ", "MINE = 1\nTABLE = ")),
    "your own file in `models/backbone`": patched(lambda root: write(root / PACKAGE / "mine.py")),
    "a patched file that git restored": patched(
        lambda root: shutil.copy(MINIHOST / YOLO, root / YOLO),
    ),
    "a file of the patch that you deleted": patched(lambda root: (root / YAML).unlink()),
    "a file of the patch that you edited": patched(lambda root: edit(root / YAML, "nc: 80", "nc: 3")),
    "an inserted line that you edited": patched(PATCHED["edited line"][0]),
    "your own line that uses a name of the patch": patched(PATCHED["line of the user's that uses our name"][0]),
    "your own line that depends on an inserted one": patched(
        lambda root: edit(
            root / YOLO,
            "results, self.kept)\n",
            "results, self.kept)\n            else:\n                pass\n",
        )
    ),
    "the patch, without its record": patched(lambda root: (root / RECORD).unlink()),
    "the patch, with a damaged record": patched(lambda root: (root / RECORD).write_text("{")),
    "a `models/backbone` of another project": unpatched(UNPATCHED["foreign package"][0]),
    "your own file with the name of one of ours": unpatched(UNPATCHED["foreign file"][0]),
    "our files, copied by hand": unpatched(UNPATCHED["copied by hand"][0]),
    "a patch by hand (`is_backbone`)": unpatched(UNPATCHED["hand-made patch"][0]),
    "conflict markers in `models/yolo.py`": patched(
        lambda root: edit(root / YOLO, "import copy", "<<<<<<< HEAD\nimport copy")
    ),
    "a `models/yolo.py` that was rewritten": unpatched(UNPATCHED["no anchors"][0]),
}


def outcome(checkout, run, mode, original):
    """Word what a run does: the exit code, and what the checkout is then."""
    before = tree(checkout)
    code, _, message = run(*mode)
    after = tree(checkout)
    if code == 2 or mode == ["--check"]:
        assert after == before
        return f"{code}, {('up to date', 'not up to date', 'refused')[code]}"
    assert code == 0, message
    if after == before:
        return "0, nothing to do"
    if "--revert" not in mode:
        assert run("--check")[0] == 0
        return "0, patched"
    return "0, original files" if after == original else "0, taken out; yours stay"


@pytest.mark.parametrize("row", rows("## Case by case"), ids=lambda row: row[0])
def test_the_table_case_by_case(row, tmp_path, run):
    found = []
    for mode in MODES:
        checkout = tmp_path / "-".join(["case", *mode])
        shutil.copytree(MINIHOST, checkout, ignore=shutil.ignore_patterns("__pycache__"))
        original = tree(checkout)
        CASES[row[0]](checkout, lambda *arguments, path=checkout: run(*arguments, path=path))
        found.append(outcome(checkout, lambda *arguments, path=checkout: run(*arguments, path=path), mode, original))
    assert row[1:] == found


def test_every_case_is_in_the_table():
    assert [row[0] for row in rows("## Case by case")] == list(CASES)


def test_the_exit_codes_are_those_of_help(capsys):
    with pytest.raises(SystemExit):
        apply_patch.main(["--help"])
    codes = re.findall(r"(?:codes:|;)\s+(\d) ", capsys.readouterr().out)
    assert [row[0] for row in rows("## Exit codes")] == codes


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
def test_git_pull_with_the_patch_in(checkout, run, tmp_path, committed):
    """It merges a change of the same file, if the patch is committed; otherwise git refuses."""
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "as released"]):
        git(checkout, *arguments).check_returncode()
    git(tmp_path, "clone", "-q", checkout, "clone").check_returncode()
    clone = tmp_path / "clone"
    assert run(path=clone)[0] == 0
    if committed:
        git(clone, "add", "-A").check_returncode()
        git(clone, "commit", "-qm", "the patch").check_returncode()
    edit(checkout / YOLO, "TABLE = ", "NEW = 1\nTABLE = ")
    git(checkout, "commit", "-qam", "a newer release").check_returncode()
    done = git(clone, "pull", "-q", "--no-rebase", "--no-edit")
    assert (done.returncode == 0) == committed, done.stderr
    assert run("--check", path=clone)[0] == 0
    if committed:
        assert run("--revert", path=clone)[0] == 0
        assert (clone / YOLO).read_bytes() == (checkout / YOLO).read_bytes()
