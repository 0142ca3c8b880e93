"""What was in a checkout before the patch is there afterwards: ours by its bytes or not, whatever is run, and forced."""

import os
import shutil
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from patches.install import payload
from patches.install.record import NAME as RECORD
from tests.conftest import MINIHOST
from tests.examples import examples
from tests.patches.install.test_apply_patch import OURS
from tests.patches.install.test_record_names import command, host, project
from tests.patches.install.test_transaction import tree

REPOSITORY = MINIHOST.parents[1]
SKIP = shutil.ignore_patterns("__pycache__")
MODES = [[], ["--force"], ["--check"], ["--diff"], ["--revert"], ["--revert", "--force"]]
BACKBONE = "models/backbone"


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def copy_project(target):
    """Copy what a user copies who puts this project into a folder."""
    for part in ("models", "patches"):
        shutil.copytree(REPOSITORY / part, target / part, ignore=SKIP, dirs_exist_ok=True)
    shutil.copy(REPOSITORY / "apply_patch.py", target)


def real_command(folder, checkout, *options):
    line = [sys.executable, "-B", str(folder / "apply_patch.py"), str(checkout), *options]
    return subprocess.run(line, capture_output=True, text=True)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_project_copied_over_the_checkout(checkout, mode):
    copy_project(checkout)
    before = tree(checkout)
    done = real_command(checkout, checkout, *mode)
    assert done.returncode == 2
    assert "would be installed over itself" in done.stderr
    assert (
        f"{checkout} is the folder of this project too. Fetch the project anew into a folder of its own" in done.stderr
    )
    assert tree(checkout) == before


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("linked", ["backbone", "backbone/yolo/rows.py", "yolov5-timm.yaml"])
def test_a_link_from_the_checkout_into_the_project_in_it(checkout, mode, linked):
    copy_project(checkout / "ours")
    (checkout / "models" / linked).parent.mkdir(parents=True, exist_ok=True)
    (checkout / "models" / linked).symlink_to(checkout / "ours/models" / linked)
    before = tree(checkout)
    done = real_command(checkout / "ours", checkout, *mode)
    assert done.returncode == 2
    assert "would be installed over itself" in done.stderr
    assert tree(checkout) == before


def test_one_inside_the_other_works(checkout, tmp_path):
    """The project in a folder of the checkout, and a checkout in a folder of the project."""
    copy_project(checkout / "ours")
    copy_project(tmp_path / "project")
    host(tmp_path / "project/build/yolov5")
    for folder, target in [(checkout / "ours", checkout), (tmp_path / "project", tmp_path / "project/build/yolov5")]:
        before = tree(tmp_path)
        assert real_command(folder, target).returncode == 0
        assert real_command(folder, target, "--revert").returncode == 0
        assert tree(tmp_path) == before


PARTS = {
    "all": ["backbone", *[name[len("models/") :] for name in OURS if name.endswith(".yaml")]],
    "the package": ["backbone"],
    "one module": ["backbone/yolo/rows.py"],
    "one yaml": ["yolov5-timm.yaml"],
}


@pytest.mark.parametrize("part", PARTS)
def test_files_of_ours_copied_by_hand_before(checkout, run, part):
    for name in PARTS[part]:
        (checkout / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if name == "backbone" else shutil.copy
        copy(REPOSITORY / "models" / name, checkout / "models" / name)
    shutil.rmtree(checkout / "models/backbone/__pycache__", ignore_errors=True)
    before = tree(checkout)
    for mode in MODES:
        code, _, message = run(*mode)
        assert tree(checkout) == before
        if "--revert" in mode:
            assert (code, "not patched; nothing to do" in message) == (0, True)
        else:
            place = PARTS[part][0].split("/")[0]
            assert (code, f"error: {checkout}/models/{place} " in message) == (2, True)
    for name in PARTS[part]:
        target = checkout / "models" / name.split("/")[0]
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    original = tree(checkout)
    assert run()[0] == 0
    assert run("--revert")[0] == 0
    assert tree(checkout) == original


@pytest.mark.parametrize("name", ["weights.py", "mine.py", "notes/readme.txt", "net/__init__.py"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_package_of_the_users_without_init(checkout, run, name, mode):
    (checkout / BACKBONE / name).parent.mkdir(parents=True)
    (checkout / BACKBONE / name).write_bytes(b"# mine\n")
    before = tree(checkout)
    code, _, message = run(*mode)
    assert tree(checkout) == before
    if "--revert" in mode:
        assert (code, "not patched; nothing to do" in message) == (0, True)
    else:
        assert (code, f"error: {checkout}/{BACKBONE} is of another project" in message) == (2, True)


@pytest.mark.parametrize("name", ["models/yolov5-timm.yaml", "models/backbone/efficientvit/weights.py"])
def test_force_overwrites_what_you_have_edited_and_nothing_of_yours(checkout, run, monkeypatch, tmp_path, name):
    run()
    installed = (checkout / name).read_bytes()
    (checkout / name).write_bytes(b"# edited\n")
    assert run("--force")[0] == 0
    assert (checkout / name).read_bytes() == installed
    new = (checkout / name).with_name("yolov5-timm-new.yaml" if name.endswith("yaml") else "new.py")
    new.write_bytes(b"# mine, before an update brought one of this name\n")
    monkeypatch.setattr(payload, "OUR_ROOT", project(tmp_path / "ours"))
    shutil.copy(tmp_path / "ours" / name, tmp_path / "ours" / new.relative_to(checkout))
    before = tree(checkout)
    for mode in ([], ["--force"]):
        code, _, message = run(*mode)
        assert (code, f"{new} exists and is not what this patch installs: it is yours" in message) == (2, True)
        assert tree(checkout) == before


CONTENTS = {"as ours": None, "mine": b"# mine\n", "empty": b""}
PLACES = [
    *(
        "models/backbone/__init__.py",
        "models/backbone/yolo/rows.py",
        "models/backbone/mine.py",
        "models/backbone/data/a.txt",
    ),
    *("models/yolov5-timm.yaml", "models/yolov5-efficientvit.yaml", "models/mine.yaml", "models/backbone.py"),
    *("models/segment/yolov5-efficientvit-seg.yaml", "models/backbone/.gitkeep", "models/efficientvit.py"),
]


@examples(60)
@hypothesis.given(
    before=st.dictionaries(st.sampled_from(PLACES), st.sampled_from(sorted(CONTENTS)), max_size=2),
    modes=st.lists(st.sampled_from([[], ["--force"], ["--revert"], ["--revert", "--force"]]), min_size=2, max_size=4),
    loses_record=st.booleans(),
)
def test_whatever_is_run_it_stays(tmp_path_factory, before, modes, loses_record):
    checkout = host(tmp_path_factory.mktemp("before") / "host")
    for name, content in before.items():
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        as_ours = REPOSITORY / name
        path.write_bytes(
            as_ours.read_bytes() if content == "as ours" and as_ours.is_file() else CONTENTS[content] or b""
        )
    original = tree(checkout)
    for mode in modes:
        command(checkout, *mode)
        if loses_record and (checkout / RECORD).exists():
            (checkout / RECORD).unlink()
        now = tree(checkout)
        assert {name: now.get(name) for name in before} == {name: original[name] for name in before}
    code, _, message = command(checkout, "--revert")
    assert code == 0, message
    assert tree(checkout) == original
