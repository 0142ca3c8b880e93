"""What the patch leaves in a checkout is named, and "as it was before the patch" is said only where it is true."""

import json
import os
import shutil

import pytest

from patches.install.checkout import Checkout
from patches.install.plan import plan_apply, plan_revert
from patches.install.record import NAME as RECORD
from patches.install.transaction import write_changes
from tests.patches.install.test_apply_patch import make_old, upgraded, without_originals
from tests.patches.install.test_transaction import tree

AS_BEFORE = "is as it was before the patch"
BACKBONE = "models/backbone"
DROPPED = f"{BACKBONE}/dropped.py"  # of the older version in make_old


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def kept(message):
    """Return the names that a run says it has kept, with the reasons."""
    lines = [line[len("Kept ") :] for line in message.splitlines() if line.startswith("Kept ")]
    return dict(line.rstrip(".").split(": ") for line in lines)


NOT_OURS, EDITED = "the patch does not know it as its own", "you have edited it"
LEFT = {  # what stands in models/backbone when the patch is taken out, and what is said of it
    "nothing": ([], {}),
    "caches": (["__pycache__/host.cpython-311.pyc"], {}),
    "a file": (["mine.py"], {"mine.py": NOT_OURS}),
    "a file and caches": (
        ["mine.py", "__pycache__/host.cpython-311.pyc"],
        {"mine.py": NOT_OURS, "__pycache__": NOT_OURS},
    ),
    "a hidden file": ([".mine"], {".mine": NOT_OURS}),
    "a folder": (["net/mine.py"], {"net": NOT_OURS}),
    "a file in a folder of ours": (["yolo/mine.py"], {"yolo/mine.py": NOT_OURS}),
    "caches in a folder of ours": (["yolo/__pycache__/rows.cpython-311.pyc"], {}),
    "a file and caches in a folder of ours": (
        ["yolo/mine.py", "yolo/__pycache__/rows.cpython-311.pyc"],
        {"yolo/mine.py": NOT_OURS, "yolo/__pycache__": NOT_OURS},
    ),
    "an edited file in a folder of ours": (["yolo/rows.py"], {"yolo/rows.py": EDITED}),
    "an edited file": (["registry.py"], {"registry.py": EDITED}),
    "both": (["registry.py", "mine.py"], {"registry.py": EDITED, "mine.py": NOT_OURS}),
}


@pytest.mark.parametrize("what", LEFT)
def test_what_stays_in_our_folder(checkout, run, what):
    original = tree(checkout)
    run()
    names, reasons = LEFT[what]
    for name in names:
        path = checkout / BACKBONE / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"# mine\n")
    code, _, message = run("--revert")
    assert code == 0
    assert kept(message) == {f"{BACKBONE}/{name}": reason for name, reason in reasons.items()}
    assert (AS_BEFORE in message) == (tree(checkout) == original) == (not reasons)
    assert ("is without the patch, except for what is kept" in message) == bool(reasons)
    now = tree(checkout)
    assert {f"{BACKBONE}/{name}" for name in names if reasons} <= now.keys()
    before = tree(checkout)
    message = run("--revert")[2]
    assert "not patched; nothing to do" in message
    assert kept(message) == {}
    assert tree(checkout) == before


def test_the_json_names_what_stays(checkout, run):
    run()
    (checkout / BACKBONE / "mine.py").write_bytes(b"")
    (checkout / BACKBONE / "registry.py").write_bytes(b"")
    seen = json.loads(run("--revert", "--json")[1])
    assert (seen["kept"], seen["remaining"]) == ([f"{BACKBONE}/registry.py"], [f"{BACKBONE}/mine.py"])


EMPTY = {
    "an empty models/backbone": ["models/backbone"],
    "an empty models/segment": ["models/segment"],
    "both": ["models/backbone", "models/segment"],
    "with a hidden file": ["models/backbone", "models/segment", "models/backbone/.gitkeep"],
}


@pytest.mark.parametrize("what", EMPTY)
def test_a_folder_that_was_empty_before_is_empty_again(checkout, run, what):
    for name in EMPTY[what]:
        (checkout / name).write_bytes(b"") if name.endswith(".gitkeep") else (checkout / name).mkdir()
    original = tree(checkout)
    run("--revert")
    assert tree(checkout) == original
    run()
    patched = upgraded(checkout)
    run()
    run("--force")
    assert upgraded(checkout) == patched
    make_old(checkout)
    run()
    assert upgraded(checkout) == patched, "the update knows it still"
    assert AS_BEFORE in run("--revert")[2]
    assert tree(checkout) == original


@pytest.mark.parametrize("folder", ["models/backbone", "models/segment"])
def test_runs_that_are_cut_off_leave_an_empty_folder_as_it_was(checkout, run, tmp_path, folder):
    (checkout / folder).mkdir()
    original = tree(checkout)
    for plan, arguments in ((plan_apply, []), (plan_revert, ["--revert"])):
        changes = plan(Checkout(checkout)).changes
        for count in range(0, len(changes), 5):
            copy = tmp_path / f"{plan.__name__}{count}"
            shutil.copytree(checkout, copy)
            write_changes(copy, changes[:count])
            run(*arguments, path=copy)
            run("--revert", path=copy)
            assert tree(copy) == original
        run(*arguments)
    assert tree(checkout) == original


def edit_dropped(checkout):
    make_old(checkout)
    (checkout / DROPPED).write_bytes(b"# of an older version, edited\n")


def test_an_edited_file_that_a_new_version_no_longer_has_is_kept_and_named(checkout, run):
    original = tree(checkout)
    run()
    new = tree(checkout)
    edit_dropped(checkout)
    for mode in (["--check"], [], ["--check"], []):
        assert kept(run(*mode)[2]) == {DROPPED: EDITED}
    assert (checkout / DROPPED).read_bytes() == b"# of an older version, edited\n"
    assert run("--check")[0] == 0
    assert DROPPED in json.loads((checkout / RECORD).read_text())["sha256"]
    assert {name: content for name, content in tree(checkout).items() if name not in (DROPPED, RECORD)} == {
        name: content for name, content in new.items() if name != RECORD
    }
    message = run("--revert")[2]
    assert kept(message) == {DROPPED: EDITED}
    assert AS_BEFORE not in message
    assert {name for name in tree(checkout) if name not in original} == {BACKBONE, DROPPED}


def test_it_is_forgotten_when_it_is_gone(checkout, run):
    original = tree(checkout)
    run()
    edit_dropped(checkout)
    run()
    (checkout / DROPPED).unlink()
    assert run("--check")[0] == 0, "nothing is left to do"
    assert "kept" not in run("--check")[2]
    (checkout / BACKBONE / "registry.py").unlink()
    run()
    assert DROPPED not in (checkout / RECORD).read_text()
    assert AS_BEFORE in run("--revert")[2]
    assert tree(checkout) == original


@pytest.mark.parametrize("mode", [[], ["--revert"]], ids=str)
def test_force_removes_it(checkout, run, mode):
    original = upgraded(checkout)
    run()
    new = upgraded(checkout)
    edit_dropped(checkout)
    assert run("--force", *mode)[0] == 0
    assert upgraded(checkout) == (original if mode else new)


def make_files_old(checkout):
    """Turn the files alone into those of an older version, with this version's lines, so that those are no matter."""
    host, record = checkout / BACKBONE / "registry.py", checkout / RECORD
    host.write_bytes(host.read_bytes() + b"\n# of an older version\n")
    (checkout / DROPPED).write_bytes(b"# of an older version\n")
    (checkout / "models/yolov5-timm-old.yaml").write_bytes(b"# of an older version\n")
    record.unlink()


def test_files_of_an_older_version_without_a_record_are_named(checkout, run):
    run()
    patched = tree(checkout)
    make_files_old(checkout)
    before = tree(checkout)
    for mode in ([], ["--check"], ["--force"]):
        code, _, message = run(*mode)
        assert code == 2
        assert (
            f"error: {checkout}/{BACKBONE}/registry.py exists and is not what this version installs. It may be of"
            in message
        )
        assert "you have edited" not in message
        assert "is yours" not in message
        assert tree(checkout) == before
    (checkout / BACKBONE / "registry.py").unlink()
    code, _, message = run()
    assert code == 0
    for name in (DROPPED, "models/yolov5-timm-old.yaml"):
        assert (
            f"Note: {name} stays. It is not from this version. It may be from another version, or your own" in message
        )
        (checkout / name).unlink()
    assert without_originals(tree(checkout)) == without_originals(patched)


def test_reverting_names_them_too(checkout, run):
    original = tree(checkout)
    run()
    make_files_old(checkout)
    code, _, message = run("--revert")
    assert code == 0
    left = [f"{BACKBONE}/registry.py", DROPPED, "models/yolov5-timm-old.yaml"]
    assert kept(message) == dict.fromkeys(left, NOT_OURS)
    assert AS_BEFORE not in message
    assert {name for name in tree(checkout) if name not in original} == {BACKBONE, *left}


@pytest.mark.parametrize("mode", [[], ["--revert"]], ids=str)
def test_our_folder_deleted_by_hand(checkout, run, mode):
    original = tree(checkout)
    run()
    patched = tree(checkout)
    shutil.rmtree(checkout / BACKBONE)
    code, _, message = run(*mode)
    assert code == 0
    assert kept(message) == {}
    assert without_originals(tree(checkout)) == without_originals(original if mode else patched)


@pytest.mark.parametrize("lost", ["removed", "damaged"])
@pytest.mark.parametrize("mode", [[], ["--revert"]], ids=str)
def test_a_record_that_got_lost_does_not_matter(checkout, run, lost, mode):
    """As when git was told to ignore it, and the patched project was cloned."""
    original = tree(checkout)
    run()
    patched = tree(checkout)
    (checkout / RECORD).unlink()
    if lost == "damaged":
        (checkout / RECORD).write_text("{")
    assert run("--force", *mode)[0] == 0
    assert without_originals(tree(checkout)) == without_originals(original if mode else patched)


def test_reverting_without_a_record_is_completed_wherever_it_was_cut_off(checkout, run, tmp_path):
    original = tree(checkout)
    run()
    (checkout / RECORD).unlink()
    changes = plan_revert(Checkout(checkout)).changes
    for count in range(len(changes)):
        copy = tmp_path / f"copy{count}"
        shutil.copytree(checkout, copy)
        write_changes(copy, changes[:count])
        assert run("--revert", path=copy)[0] == 0
        assert tree(copy) == original
