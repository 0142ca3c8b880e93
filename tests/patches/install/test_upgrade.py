"""A checkout patched by an earlier commit, whose modules had other names and lay in one folder, is brought up to date."""

import json
import shutil
import subprocess
import sys

import pytest

from patches.install.record import NAME as RECORD
from tests.conftest import MINIHOST
from tests.earlier import unpack
from tests.patches.install.test_transaction import tree

SKIP = shutil.ignore_patterns(".git", "runs", "__pycache__")
EARLIER = {  # what it changed, and its commit
    "all modules in one folder": "d83f48145dfa",
    "a record without the inserted lines": "2d47311149d8",
}


@pytest.fixture(scope="module", params=EARLIER)
def earlier(request, tmp_path_factory):
    """The project as it was at an earlier commit."""
    return unpack(EARLIER[request.param], tmp_path_factory.mktemp("earlier"))


def copy(host, target):
    shutil.copytree(host, target, ignore=SKIP)
    return target


@pytest.fixture(params=["miniature", "real"])
def original(request):
    """A host without the patch; read only."""
    return MINIHOST if request.param == "miniature" else request.getfixturevalue("stock").root


@pytest.fixture
def old(earlier, original, tmp_path):
    """A copy of it, patched by the earlier version."""
    host = copy(original, tmp_path / "old")
    done = subprocess.run([sys.executable, "-B", earlier / "apply_patch.py", host], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return host


def files_of(root):
    """Return the files; of the record, what was installed, for it also keeps the lines of older versions."""
    files = tree(root)
    content, mode = files[RECORD]
    return {**files, RECORD: (json.loads(content)["sha256"], mode)}


@pytest.mark.newest_release
def test_applying_again_gives_what_a_fresh_checkout_gets(real_checkout, old, original, run, tmp_path):
    fresh = copy(original, tmp_path / "fresh")
    assert run(path=fresh)[0] == 0
    assert run("--check", path=old)[0] == 1
    code, _, message = run(path=old)
    assert code == 0, message
    assert files_of(old) == files_of(fresh)
    assert run("--check", path=old)[0] == 0
    assert run("--revert", path=old)[0] == 0
    assert tree(old) == tree(copy(original, tmp_path / "original"))


@pytest.mark.newest_release
def test_reverting_gives_the_original(real_checkout, old, original, run, tmp_path):
    code, _, message = run("--revert", path=old)
    assert code == 0, message
    assert tree(old) == tree(copy(original, tmp_path / "original"))


@pytest.mark.newest_release
def test_what_the_user_has_written_stays(real_checkout, old, original, run, tmp_path):
    """Lines in a patched file, an edited module of the earlier version, and a module beside ours."""
    yolo, edited, own = (old / "models" / name for name in ("yolo.py", "backbone/host.py", "backbone/mine.py"))
    yolo.write_bytes(yolo.read_bytes() + b"\n# mine\n")
    edited.write_bytes(edited.read_bytes() + b"\n# mine\n")
    own.write_bytes(b"# mine\n")
    code, out, _ = run("--json", path=old)
    assert code == 0
    assert json.loads(out)["kept"] == ["models/backbone/host.py"]
    code, out, _ = run("--revert", "--json", path=old)
    assert code == 0
    seen = json.loads(out)
    assert (seen["kept"], seen["remaining"]) == (["models/backbone/host.py"], ["models/backbone/mine.py"])
    assert edited.read_bytes().endswith(b"\n# mine\n")
    assert yolo.read_bytes() == (original / "models" / "yolo.py").read_bytes() + b"\n# mine\n"
    shutil.rmtree(old / "models" / "backbone")
    yolo.write_bytes((original / "models" / "yolo.py").read_bytes())
    assert tree(old) == tree(copy(original, tmp_path / "original"))
