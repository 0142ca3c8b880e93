"""Files on disk: whole, with their modes, or as they were."""

import errno
import os
import stat

import pytest

from patches import transaction
from patches.errors import PatchError
from patches.plan import Change
from patches.transaction import write_changes


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
    write_changes(root, [Change("new/file.py", b"new", None)])
    assert not (root / "new").exists()


def test_a_folder_with_files_of_the_user_stays(root):
    write_changes(root, CHANGES)
    (root / "new" / "mine.py").write_bytes(b"")
    write_changes(root, [Change("new/file.py", b"new", None)])
    assert (root / "new" / "mine.py").exists()


@pytest.mark.parametrize("failing", [1, 2], ids=["first file", "second file"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), PatchError),
        (KeyboardInterrupt("No space left on device. Nothing has been changed"), KeyboardInterrupt),
    ],
    ids=["full disk", "interrupted"],
)
def test_a_failure_puts_everything_back(root, monkeypatch, failing, error, raised):
    before = tree(root)
    replacements = []

    def failing_replace(*paths):
        replacements.append(paths)
        if len(replacements) == failing:
            raise error
        os_replace(*paths)

    os_replace = os.replace
    monkeypatch.setattr(transaction.os, "replace", failing_replace)
    with pytest.raises(raised, match="No space left on device. Nothing has been changed"):
        write_changes(root, CHANGES)
    assert tree(root) == before
