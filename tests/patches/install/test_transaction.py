"""Files on disk: whole, with their modes, or as they were."""

import errno
import itertools
import os
import stat
from pathlib import Path

import pytest

from patches.errors import PatchError
from patches.install import transaction
from patches.install.plan import Change
from patches.install.record import NAME as RECORD
from patches.install.transaction import write_changes


def tree(root):
    """Return every path below `root`, with content and mode of the files."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        if path.is_file()
        else None
        for path in root.rglob("*")
    }


@pytest.fixture
def root(tmp_path):
    (tmp_path / "host.py").write_bytes(b"old\r\n")
    (tmp_path / "host.py").chmod(0o640)
    (tmp_path / "gone.txt").write_bytes(b"gone")
    return tmp_path


CHANGES = [
    Change("new/file.py", None, b"new"),
    Change("gone.txt", b"gone", None),
    Change("host.py", b"old\r\n", b"patched\r\n"),
]


def test_creates_updates_removes_and_keeps_modes(root):
    write_changes(root, CHANGES)
    assert tree(root) == {"host.py": (b"patched\r\n", 0o640), "new": None, "new/file.py": (b"new", 0o644)}


def test_removing_the_last_file_removes_the_folder_and_its_caches(root):
    write_changes(root, CHANGES)
    (root / "new" / "__pycache__").mkdir()
    (root / "new" / "__pycache__" / "file.pyc").write_bytes(b"")
    write_changes(root, [Change("new/file.py", b"new", None, with_folder=True)])
    assert not (root / "new").exists()


def test_a_folder_that_is_to_stay_stays(root):
    write_changes(root, CHANGES)
    write_changes(root, [Change("new/file.py", b"new", None)])
    assert tree(root / "new") == {}


def test_a_folder_with_files_of_the_user_stays(root):
    write_changes(root, CHANGES)
    (root / "new" / "mine.py").write_bytes(b"")
    write_changes(root, [Change("new/file.py", b"new", None, with_folder=True)])
    assert tree(root / "new") == {"mine.py": (b"", 0o644)}


def failing_at(monkeypatch, function, turn, error):
    """Let the `turn`-th call of os.`function` raise, as a full disk or an impatient user would have it."""
    calls, original = [], getattr(os, function)

    def wrapped(*arguments, **options):
        calls.append(arguments)
        if len(calls) == turn:
            raise error
        return original(*arguments, **options)

    monkeypatch.setattr(transaction.os, function, wrapped)
    return calls


@pytest.mark.parametrize(
    ("function", "turn"), [("fsync", 1), ("fsync", 2), ("replace", 1), ("replace", 2), ("chmod", 2)]
)
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), PatchError),
        (KeyboardInterrupt("No space left on device. Nothing has been changed"), KeyboardInterrupt),
    ],
    ids=["full disk", "interrupted"],
)
def test_a_failure_puts_everything_back(root, monkeypatch, function, turn, error, raised):
    before = tree(root)
    calls = failing_at(monkeypatch, function, turn, error)
    with pytest.raises(raised, match="No space left on device. Nothing has been changed"):
        write_changes(root, CHANGES)
    assert len(calls) >= turn
    assert tree(root) == before


def test_a_failure_without_a_file_name_is_told_with_one(root, monkeypatch):
    """A write to a full disk, unlike a rename, does not say which file it was."""
    failing_at(monkeypatch, "fsync", 1, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(PatchError, match=r"host\.py cannot be written: No space"):
        write_changes(root, [CHANGES[2]])


def test_no_file_or_folder_stays_open(root, monkeypatch):
    opened, closed = [], []
    open_folder, close_folder = os.open, os.close
    monkeypatch.setattr(transaction.os, "open", lambda *of: opened.append(open_folder(*of)) or opened[-1])
    monkeypatch.setattr(transaction.os, "close", lambda handle: closed.append(handle) or close_folder(handle))
    write_changes(root, CHANGES)
    assert len(opened) >= len(CHANGES) or os.name != "posix"
    assert sorted(closed) == sorted(opened)


def test_all_content_is_on_the_disk_before_the_first_file_changes(root, monkeypatch):
    """So a disk that is full is found full while nothing has changed."""
    events = []
    fsync, replace, unlink = os.fsync, os.replace, Path.unlink
    monkeypatch.setattr(transaction.os, "fsync", lambda handle: (events.append("sync"), fsync(handle)))
    monkeypatch.setattr(transaction.os, "replace", lambda *paths: (events.append("swap"), replace(*paths)))
    monkeypatch.setattr(Path, "unlink", lambda path: (events.append("swap"), unlink(path)))
    write_changes(root, CHANGES)
    assert events[:2] == ["sync", "sync"]
    steps = [event for event, _ in itertools.groupby(events)]
    assert steps == ["sync", *["swap", "sync"] * 3], "and each step before the next"


@pytest.mark.parametrize(("turn", "name"), [(1, "new/file.py"), (2, "host.py")])
def test_the_message_names_the_file_that_could_not_be_written(root, monkeypatch, turn, name):
    chmod, calls = os.chmod, []

    def refuse(path, mode):
        calls.append(path)
        if len(calls) == turn:
            raise OSError(errno.EPERM, "Operation not permitted", str(path))
        chmod(path, mode)

    monkeypatch.setattr(transaction.os, "chmod", refuse)
    with pytest.raises(PatchError) as caught:
        write_changes(root, CHANGES)
    assert str(caught.value).startswith(f"{root / name} cannot be written: Operation not permitted. Nothing")


def test_what_cannot_even_be_put_back_is_reported(root, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "host.py")

    swapped = []
    swap = transaction.swap

    def swap_once(target, new, *options):
        if swapped:
            monkeypatch.setattr(transaction, "stage", full)
            full()
        swapped.append(target)
        swap(target, new, *options)

    monkeypatch.setattr(transaction, "swap", swap_once)
    with pytest.raises(PatchError, match="host.py cannot be written .*, and the files before it cannot be put back"):
        write_changes(root, [CHANGES[2], CHANGES[0]])


def test_leftovers_of_a_killed_run_are_removed(root):
    write_changes(root, CHANGES)
    before = tree(root)
    (root / "models" / "backbone").mkdir(parents=True)
    waiting = root / "models" / ".backbone.yolov5-efficientvit-new"
    waiting.mkdir()
    for folder in (root, root / "models", root / "models" / "backbone", waiting):
        (folder / ".host.py.yolov5-efficientvit-new3").write_bytes(b"half a fi")
    write_changes(root, [])
    assert tree(root) == {**before, "models": None, "models/backbone": None}


def test_a_folder_comes_and_goes_in_one_step(root, monkeypatch):
    """So an empty one is never taken for the user's own after a run that was killed."""
    seen, rename = [], os.rename

    def renamed(before, after):
        seen.append(sorted(path.name for path in Path(before).iterdir()))
        rename(before, after)

    monkeypatch.setattr(transaction.os, "rename", renamed)
    write_changes(root, [Change("new/a.py", None, b""), Change("new/b.py", None, b"")])
    write_changes(root, [Change("new/b.py", b"", None), Change("new/a.py", b"", None, with_folder=True)])
    assert seen == [[".1.yolov5-efficientvit-new", "a.py"], ["a.py"]]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, who may give files away")
def test_files_belong_to_the_owner_of_the_checkout(root):
    os.chown(root, 1234, 1234)
    os.chown(root / "host.py", 1235, 1236)
    write_changes(root, CHANGES)
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in root.rglob("*")}
    assert owners == {"host.py": (1235, 1236), "new": (1234, 1234), "file.py": (1234, 1234)}


def test_the_record_is_not_what_git_is_told_to_ignore():
    """YOLOv5's own .gitignore has *.json."""
    assert not RECORD.endswith(".json")
