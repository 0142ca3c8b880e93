"""The exit code of each outcome in each mode is that of --help, and so is what became of the files."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from tests import REPOSITORY, TESTS
from tests.conftest import MINIHOST
from tests.patches.install.test_transaction import tree

PROBE = TESTS / "outcome_probe.py"
SCRIPT = REPOSITORY / "apply_patch.py"
MODES = {"apply": [], "check": ["--check"], "diff": ["--diff"], "revert": ["--revert"]}
WRITING = ("apply", "revert")


def probe(fault, root, *arguments):
    command = [sys.executable, "-I", "-S", str(PROBE), fault, str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """The miniature host: as it is, with the patch, and with the patch of another version."""
    folder = tmp_path_factory.mktemp("trees")
    for name in ("stock", "patched", "edited", "broken", "foreign"):
        shutil.copytree(MINIHOST, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    common = folder / "broken" / "models" / "common.py"
    common.write_text("import no_such_package\n" + common.read_text("utf-8"), "utf-8")
    (folder / "foreign" / "models" / "yolo.py").write_text("def (:\n")
    for name in ("patched", "edited"):
        assert probe("none", folder / name).returncode == 0
    yolo = folder / "edited" / "models" / "yolo.py"
    yolo.write_text(yolo.read_text("utf-8").replace("backbone_rows.build(", "backbone_rows.make("), "utf-8")
    return folder


# mode, more arguments, checkout, fault: the exit code, and what the files are then
CASES = [
    *((mode, [], "patched", "none", 0, "patched") for mode in ("apply", "check", "diff")),
    *((mode, [], "stock", "none", code, "stock") for mode, code in (("check", 1), ("diff", 0), ("revert", 0))),
    ("apply", [], "stock", "none", 0, "patched"),
    ("revert", [], "patched", "none", 0, "stock"),
    *((mode, [], "edited", "none", 2, "edited") for mode in MODES if mode != "diff"),
    *((mode, [], "foreign", "none", 2, "foreign") for mode in ("apply", "check", "diff")),
    *((mode, [], "no such folder", "none", 2, None) for mode in MODES),
    *((mode, ["--nonsense"], "stock", "none", 2, "stock") for mode in MODES),
    *((mode, ["--verify"], "stock", "none", 2, "stock") for mode in ("diff", "revert")),
    *(
        (mode, [], start, fault, 2, start)
        for fault in ("unforeseen in planning", "interrupted in planning")
        for mode, start in (("apply", "stock"), ("check", "stock"), ("diff", "stock"), ("revert", "patched"))
    ),
    *(
        (mode, [], start, fault, 2, start)
        for fault in (
            "disk full before anything is changed",
            "disk full, all put back",
            "unforeseen in writing, all put back",
            "interrupted in writing, all put back",
        )
        for mode, start in (("apply", "stock"), ("revert", "patched"))
    ),
    *(
        (mode, [], start, fault, 4, "between")
        for fault in ("half written", "unforeseen in writing, and again", "interrupted in writing, and again")
        for mode, start in (("apply", "stock"), ("revert", "patched"))
    ),
    ("apply", ["--verify"], "broken", "verify: the model does not run", 3, "other"),
    *(
        (mode, ["--verify"], start, fault, code, "patched")
        for fault in ("verify: unforeseen", "verify: no process", "verify: interrupted")
        for mode, start, code in (("apply", "stock", 4), ("apply", "patched", 2), ("check", "patched", 2))
    ),
]


def test_every_exit_code_of_help_is_among_the_cases():
    message = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True).stdout
    codes = re.findall(r"(?:codes:|;)\s+(\d) ", message)
    assert sorted({case[4] for case in CASES}) == list(map(int, codes))


@pytest.mark.parametrize("as_json", [False, True], ids=["", "json"])
@pytest.mark.parametrize(
    ("mode", "more", "start", "fault", "code", "end"), CASES, ids=[" ".join(map(str, case)) for case in CASES]
)
def test_the_exit_code(trees, tmp_path, mode, more, start, fault, code, end, as_json):
    root = tmp_path / "host"
    if (trees / start).exists():
        shutil.copytree(trees / start, root)
    done = probe(fault, root, *MODES[mode], *more, *(["--json"] if as_json else []))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    after = tree(root)
    if end in ("patched", "stock"):
        assert after == tree(trees / end)
    elif end == "between":
        assert after not in (tree(trees / "stock"), tree(trees / "patched"))
    elif end == start:
        assert after == tree(trees / start)
    if as_json:
        seen = json.loads(done.stdout)
        assert seen["exit_code"] == code
        assert (seen["error"] is not None) == (code in (2, 4))
        if mode in WRITING:
            before = tree(trees / start) if root.exists() else {}
            changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
            files = {name for name in changed if "." in name.split("/")[-1] and ".yolov5-efficientvit-new" not in name}
            assert {change["file"] for change in seen["changes"]} == files
    elif code in (2, 4):
        assert done.stderr.count("error: ") == 1
        assert done.stdout == ""
