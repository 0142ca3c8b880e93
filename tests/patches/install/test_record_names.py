"""Any name that a file can have: of a module of the user's own, of this project's folder, and of the checkout."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

import apply_patch
from patches.install import payload
from patches.install.checkout import Checkout
from patches.install.record import NAME as RECORD
from patches.install.record import Record, digest, read_record
from tests.conftest import MINIHOST
from tests.examples import examples
from tests.patches.install.test_transaction import tree

REPOSITORY = MINIHOST.parents[1]
SKIP = shutil.ignore_patterns("__pycache__")
# As bytes, for a file system takes any byte but two. A name that begins with a dot cannot be imported.
PIECES = [
    "a",
    "Z",
    "9",
    "_",
    "主干",
    "é",
    "🚀",
    " ",
    "\n",
    "\r",
    "\t",
    "'",
    '"',
    "\\",
    "#",
    "*",
    "[",
    "]",
    "?",
    "%",
    "-",
    "\x7f",
]
NAMES = (
    st.lists(
        st.sampled_from([piece.encode() for piece in PIECES] + [b"\xff", b"\xe4\xb8", b"."]), min_size=1, max_size=6
    )
    .map(b"".join)
    .filter(lambda name: not name.startswith(b"."))
    .map(os.fsdecode)
)
EXAMPLES = ["主干", "a b", " ", "\n", "it's", '"', "\\", os.fsdecode(b"\xff"), "[*]", "-"]
POSIX = pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="needs names of any bytes")


def project(folder, *modules):
    """Copy what is installed, with modules of the user's own."""
    shutil.copytree(REPOSITORY / "models", folder / "models", ignore=SKIP)
    for name in modules:
        (folder / "models/backbone" / f"{name}.py").write_bytes(b"# mine\n")
    return folder


def host(folder):
    shutil.copytree(MINIHOST, folder, ignore=SKIP)
    return folder


def command(checkout, *options):
    """Run the command in this process, with streams that take any name: the exit code, stdout and stderr."""
    message, out = io.StringIO(), io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stderr(message), contextlib.redirect_stdout(out):
        code = apply_patch.main([str(checkout), *options])
    return code, out.buffer.getvalue(), message.getvalue()


def works(checkout, *options):
    code, out, message = command(checkout, *options)
    assert code == 0, message
    return out, message


@POSIX
@examples(25)
@hypothesis.given(module=NAMES, own=NAMES, project_name=NAMES, checkout_name=NAMES)
def test_apply_check_update_and_revert(tmp_path_factory, module, own, project_name, checkout_name):
    hypothesis.assume(module != own)
    folder = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)  # for speed
        ours, checkout = project(folder / f"p{project_name}", module), host(folder / f"c{checkout_name}")
        patch.setattr(payload, "OUR_ROOT", ours)
        original, installed = tree(checkout), checkout / f"models/backbone/{module}.py"
        works(checkout)
        assert installed.read_bytes() == payload.HEADER + b"# mine\n"
        assert "is patched and up to date (" in works(checkout, "--check")[1]
        assert works(checkout, "--diff")[0] == b""

        mine = checkout / f"models/backbone/{own}.py"
        mine.write_bytes(b"# a file of my own\n")
        (ours / f"models/backbone/{module}.py").write_bytes(b"# mine, changed\n")
        works(checkout)
        assert installed.read_bytes() == payload.HEADER + b"# mine, changed\n"
        (ours / f"models/backbone/{module}.py").unlink()
        works(checkout)
        assert not installed.exists()
        assert mine.read_bytes() == b"# a file of my own\n"
        mine.unlink()
        works(checkout, "--revert")
        assert tree(checkout) == original
    shutil.rmtree(folder)


@POSIX
@pytest.mark.parametrize("name", ["a" * 252, "主" * 84], ids=["letters", "Chinese"])
def test_a_name_as_long_as_names_can_be(checkout, tmp_path, monkeypatch, name):
    original = tree(checkout)
    monkeypatch.setattr(payload, "OUR_ROOT", project(tmp_path / "ours", name))
    works(checkout)
    assert (checkout / f"models/backbone/{name}.py").read_bytes() == payload.HEADER + b"# mine\n"
    works(checkout, "--check")
    works(checkout, "--revert")
    assert tree(checkout) == original


@POSIX
@pytest.mark.parametrize("name", EXAMPLES, ids=ascii)
def test_git_applies_the_diff(checkout, tmp_path, monkeypatch, name):
    monkeypatch.setattr(payload, "OUR_ROOT", project(tmp_path / "ours", name))
    diff, _ = works(checkout, "--diff")
    copy = host(tmp_path / "copy")
    subprocess.run(["git", "apply", "-p1"], input=diff, cwd=copy, check=True)
    assert (copy / f"models/backbone/{name}.py").read_bytes() == payload.HEADER + b"# mine\n"


LOCALES = {
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LC_ALL": "C"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@POSIX
@pytest.mark.parametrize("later", LOCALES)
@pytest.mark.parametrize("first", LOCALES)
def test_the_record_reads_alike_in_every_locale(checkout, tmp_path, first, later):
    """Applied in one locale, checked and reverted in another, by the real command."""
    original = tree(checkout)
    ours = project(tmp_path / "ours", "主干", os.fsdecode(b"caf\xe9"))
    shutil.copytree(REPOSITORY / "patches", ours / "patches", ignore=SKIP)
    shutil.copy(REPOSITORY / "apply_patch.py", ours)
    for locale, *options in [(first,), (later, "--check"), (later, "--revert")]:
        done = subprocess.run(
            [sys.executable, str(ours / "apply_patch.py"), str(checkout), *options],
            env={**os.environ, **LOCALES[locale]},
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
    assert tree(checkout) == original


def test_a_record_written_before_is_read(tmp_path):
    """As version 0.1.0 wrote it: names as they are, which JSON escapes, whether it could read them or not."""
    names = ["models/backbone/yolo/rows.py", "models/yolov5-efficientvit.yaml", "models/backbone/主干.py"]
    names += [f"models/backbone/{os.fsdecode(b'caf' + bytes([233]))}.py"] if os.name == "posix" else []
    known = {name: [digest(name.encode("utf-8", "surrogateescape"))] for name in names}
    fields = {"project": "yolov5-efficientvit", "version": "0.1.0", "sha256": known, "blocks": {"train.py": ["a b"]}}
    (tmp_path / RECORD).parent.mkdir(parents=True)
    (tmp_path / RECORD).write_text(json.dumps(fields, indent=1) + "\n")
    assert read_record(Checkout(tmp_path)) == Record(known), "digests of blocks are not read any more"


@pytest.mark.parametrize(
    "name", ["models/backbone/a\0b.py", "models/backbone/\ud800.py", "models/../a/b.py"], ids=ascii
)
def test_a_name_that_no_file_can_have_is_damage(checkout, name):
    path = Path(checkout, RECORD)
    path.parent.mkdir()
    path.write_text(json.dumps({"sha256": {name: ["0"]}, "blocks": {}}))
    code, _, message = command(checkout)
    assert (code, "the record of what was installed, is damaged" in message) == (2, True)
