"""Odd entries in the folders that the patch looks into: what is no file is passed over, or named and refused."""

import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from patches.install import payload
from patches.install.checkout import Checkout
from patches.trial import verify
from tests.conftest import MINIHOST
from tests.patches.install.test_transaction import tree

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file systems")
MODES = [["--check"], ["--diff"], [], ["--check"], [], ["--revert"], ["--revert"]]


def make_socket(path):
    """Bind by a relative name: the path of a socket may have 107 characters only."""
    folder = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(folder)


ODD = {
    "link to nothing": lambda path: path.symlink_to("user@machine.1234:5678"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "folder": lambda path: path.mkdir(),
    "named pipe": os.mkfifo,
    "socket": make_socket,
    "device": lambda path: path.symlink_to("/dev/null"),
}
BLOBS = {"blob": b"\x00\xff\xfe class", "empty": b"", "without end": b"(" * 100_000}


@pytest.fixture(autouse=True)
def soon():
    """A pipe that is opened waits for ever."""

    def too_long(*_):
        raise TimeoutError("it hangs")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(120)
    yield
    signal.alarm(0)


def entries(root):
    """Return the entries below a folder, with the content of the files."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in root.rglob("*")
    }


def passes_every_mode(checkout, run):
    for mode in MODES:
        code, _, stderr = run(*mode)
        assert code in (0, 1), stderr
        assert "error" not in stderr


@pytest.mark.parametrize("name", [".#yolo.py", "._yolo.py", "old.py", "efficientvit.py"])
@pytest.mark.parametrize("kind", ODD)
def test_beside_the_modules_of_the_host(checkout, run, kind, name):
    ODD[kind](checkout / "models" / name)
    original = entries(checkout)
    passes_every_mode(checkout, run)
    assert entries(checkout) == original


@pytest.mark.parametrize("kind", BLOBS)
def test_blobs_beside_the_modules_of_the_host(checkout, run, kind):
    (checkout / "models" / "old.py").write_bytes(BLOBS[kind])
    original = tree(checkout)
    passes_every_mode(checkout, run)
    assert tree(checkout) == original


def test_a_module_of_the_host_that_vanishes_meanwhile(checkout, run, monkeypatch):
    gone, read = checkout / "models" / "gone.py", Path.read_bytes
    gone.write_bytes(b"")

    def read_bytes(path):
        if path.name == gone.name:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    passes_every_mode(checkout, run)


@pytest.mark.parametrize("name", [".#host.py", "old.py", "notes.txt"])
@pytest.mark.parametrize("kind", ODD)
def test_beside_our_modules(checkout, run, kind, name):
    run()
    odd = checkout / "models/backbone" / name
    ODD[kind](odd)
    passes_every_mode(checkout, run)
    assert os.path.lexists(odd)
    assert sorted(path.name for path in odd.parent.iterdir()) == [name]


@pytest.mark.parametrize(
    "name", ["models/backbone/yolo/rows.py", "models/yolov5-timm.yaml", "models/backbone/installed.txt"]
)
@pytest.mark.parametrize("kind", ODD)
def test_in_the_place_of_a_file_of_ours(checkout, run, kind, name):
    run()
    place = checkout / name
    place.unlink()
    ODD[kind](place)
    before = entries(checkout)
    for mode in ([], ["--check"], ["--diff"], ["--force"], ["--revert"], ["--revert", "--force"]):
        code, _, stderr = run(*mode)
        assert (code, stderr.count("error: ")) == (2, 1)
        assert str(place) in stderr or "/dev/null" in stderr
        assert "This is a bug" not in stderr
        assert entries(checkout) == before


@pytest.mark.parametrize("name", [".#host.py", "._host.py", "old.py"])
@pytest.mark.parametrize("kind", ODD)
def test_in_this_project(checkout, run, monkeypatch, tmp_path, kind, name):
    """Nothing of it is installed."""
    original = tree(checkout)
    run()
    patched = tree(checkout)
    run("--revert")
    shutil.copytree(
        MINIHOST.parents[1] / "models", tmp_path / "ours/models", ignore=shutil.ignore_patterns("__pycache__")
    )
    ODD[kind](tmp_path / "ours/models/backbone" / name)
    ODD[kind](tmp_path / "ours/models/yolov5-timm-odd.yaml")
    monkeypatch.setattr(payload, "OUR_ROOT", tmp_path / "ours")
    assert run()[0] == 0
    assert tree(checkout) == patched
    assert run("--revert")[0] == 0
    assert tree(checkout) == original


@pytest.mark.parametrize("kind", ODD)
def test_yamls_that_are_no_files_are_not_verified(checkout, run, monkeypatch, kind):
    ODD[kind](checkout / "models/yolov5-efficientvit-odd.yaml")
    passes_every_mode(checkout, run)
    run()
    seen = []
    monkeypatch.setattr(verify, "run_probe", lambda checkout, yamls, options: seen.extend(yamls) or [])
    verify.verify(Checkout(checkout))
    assert [path.name for path in seen] == [
        *[f"yolov5-efficientvit-m{number}.yaml" for number in range(1, 6)],
        "yolov5-efficientvit.yaml",
    ]


FOLDERS = {
    "file": (lambda path: path.write_bytes(b"mine"), "is a file, not a folder, and our package"),
    "named pipe": (os.mkfifo, "is a named pipe, not a folder"),
    "socket": (make_socket, "is a socket, not a folder"),
    "device": (lambda path: path.symlink_to("/dev/null"), "lies behind a link that leads out of the checkout"),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), "is a link to nowhere, and nothing is there"),
    "link to nothing outside": (
        lambda path: path.symlink_to("/nowhere"),
        "is a link to /nowhere, and nothing is there",
    ),
    "link to itself": (lambda path: path.symlink_to(path.name), "is a link that leads round in a circle"),
}


@pytest.mark.parametrize("mode", [[], ["--check"], ["--diff"], ["--force"], ["--revert"]], ids=str)
@pytest.mark.parametrize("kind", FOLDERS)
def test_in_the_place_of_our_folder(checkout, run, kind, mode):
    make, message = FOLDERS[kind]
    make(checkout / "models/backbone")
    before = entries(checkout)
    code, _, stderr = run(*mode)
    assert code == 2
    assert f"{checkout}/models/backbone {message}" in stderr
    assert entries(checkout) == before


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("place", ["models/segment", "segment", "classify", "segment.py"])
def test_in_the_place_of_a_folder_of_the_host(checkout, run, kind, place):
    FOLDERS[kind][0](checkout / place)
    original = entries(checkout)
    passes_every_mode(checkout, run)
    assert entries(checkout) == original


@pytest.mark.parametrize(
    ("name", "code"), [("models/old.py", 0), ("models/backbone", 2), ("models/yolov5-timm.yaml", 2), ("segment", 0)]
)
def test_what_may_not_be_read(run, monkeypatch, name, code):
    """A folder or a file that this user may not open, in a checkout of his own."""
    root, user = Path(tempfile.mkdtemp()), os.geteuid()  # not tmp_path, nor this project: only their owner may enter
    checkout, theirs = root / "host", root / "host" / name
    monkeypatch.setattr(payload, "OUR_ROOT", root / "ours")
    try:
        shutil.copytree(MINIHOST.parents[1] / "models", root / "ours/models")
        shutil.copytree(MINIHOST, checkout, ignore=shutil.ignore_patterns("__pycache__"))
        theirs.write_bytes(b"") if theirs.suffix else theirs.mkdir()
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755)
            if user == 0:
                os.chown(path, 65534, 65534)
        theirs.chmod(0)
        if user == 0:
            os.seteuid(65534)  # permissions do not bind root
        found, _, stderr = run(path=checkout)
        assert found == code, stderr
        assert "This is a bug" not in stderr
        if code:
            assert f"{theirs} cannot be" in stderr or f"{theirs}/" in stderr
        else:
            assert run("--revert", path=checkout)[0] == 0
    finally:
        os.seteuid(user)
        theirs.chmod(0o755)
        shutil.rmtree(root)


IN_PLACE = {  # what stands in the place of a folder of ours, or of its name
    "a link to a folder": (lambda at: at.symlink_to("other"), "tools is a link, and a folder of our package"),
    "a link to nothing": (lambda at: at.symlink_to("nowhere"), "tools is a link, and a folder of our package"),
    "a file": (lambda at: at.write_bytes(b"mine"), "tools is a file, not a folder"),
    "a named pipe": (os.mkfifo, "tools is a named pipe, not a folder"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
@pytest.mark.parametrize("mode", [[], ["--check"], ["--revert"], ["--revert", "--force"]], ids=str)
@pytest.mark.parametrize("kind", IN_PLACE)
def test_what_stands_in_the_place_of_a_folder_of_ours(checkout, run, kind, mode):
    run()
    place = checkout / "models/backbone/tools"
    shutil.rmtree(place)
    place.with_name("other").mkdir()
    make, message = IN_PLACE[kind]
    make(place)
    before = tree(checkout)
    code, _, stderr = run(*mode)
    assert (code, message in stderr) == (2, True), stderr
    assert tree(checkout) == before


def test_a_module_that_a_folder_of_ours_would_hide(checkout, run):
    run()
    shutil.rmtree(checkout / "models/backbone/tools")
    (checkout / "models/backbone/tools.py").write_bytes(b"mine = 1\n")
    code, _, stderr = run()
    assert (code, "tools.py would be hidden by our folder models/backbone/tools" in stderr) == (2, True), stderr
    assert run("--revert")[0] == 0
    assert (checkout / "models/backbone/tools.py").read_bytes() == b"mine = 1\n"
