"""Output that is full, closed or read by nobody; usage errors; and names that are no UTF-8 in the JSON."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import apply_patch
from patches.errors import PatchError
from patches.install.checkout import locate
from patches.text import quoted, without_surrogates
from tests.conftest import MINIHOST
from tests.patches.install.test_transaction import tree

SCRIPT = apply_patch.__file__
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
STDERR = ["2>/dev/null", "2>&-", "2>/dev/full"]
UNREAD = ["> >(exec head -c 1 >/dev/null)", "> >(exec true)"]


def shell(arguments, redirection="", python=()):
    command = [sys.executable, *python, SCRIPT, *map(str, arguments)]
    return subprocess.run(["bash", "-c", f'"$@" {redirection}', "bash", *command], capture_output=True, text=True)


@pytest.fixture(scope="module")
def patched(tmp_path_factory):
    root = tmp_path_factory.mktemp("patched") / "host"
    shutil.copytree(MINIHOST, root, ignore=shutil.ignore_patterns("__pycache__"))
    assert apply_patch.main([str(root)]) == 0
    return root


@needs_full
@pytest.mark.parametrize("stderr", STDERR)
@pytest.mark.parametrize("stdout", ["", ">/dev/full", ">&-"])
def test_a_message_that_is_lost_changes_no_exit_code(checkout, patched, stdout, stderr):
    redirection = f"{stdout} {stderr}"
    for arguments, code in (
        ([checkout, "--check"], 1),
        ([patched, "--check"], 0),
        ([checkout, "--revert"], 0),
        ([checkout / "none"], 2),
        ([checkout, "--nonsense"], 2),
        ([checkout], 0),
    ):
        done = shell(arguments, redirection)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", ""), arguments
    assert tree(checkout) == tree(patched)


@needs_full
@pytest.mark.parametrize("python", [[], ["-u"]], ids=["", "unbuffered"])
@pytest.mark.parametrize("stdout", [">/dev/full", ">&-"])
def test_an_answer_that_cannot_be_written_is_a_failure(checkout, patched, stdout, python):
    before = tree(checkout)
    for mode in ("--check", "--diff", "--revert"):
        done = shell([checkout, mode, "--json"], stdout, python)
        assert done.returncode == 2
        assert tree(checkout) == before
        assert len(re.findall("^error: standard output cannot be written: ", done.stderr, re.MULTILINE)) == 1
    assert shell([checkout, "--diff"], stdout, python).returncode == 2
    assert shell([checkout, "--diff", "--json"], f"{stdout} 2>&-", python).returncode == 2
    done = shell([checkout, "--json"], stdout, python)
    assert done.returncode == 4, "files were changed"
    assert re.search("^Added [0-9]+ files below models/[.]$", done.stderr, re.MULTILINE)
    assert tree(checkout) == tree(patched)
    assert shell([checkout, "--json"], stdout, python).returncode == 2, "there was nothing to do"


@needs_full
def test_help_that_cannot_be_written_is_a_failure():
    for option in ("--help", "--version"):
        assert shell([option]).returncode == 0
        assert shell([option], ">/dev/full").returncode == 2
        assert shell([option], ">&-").returncode == 0, "it goes to stderr then"


@pytest.mark.parametrize("stdout", UNREAD, ids=["head", "nobody"])
@pytest.mark.parametrize("mode", ["--diff", "--check --json", "--diff --json", "--help"])
def test_a_reader_that_has_seen_enough_is_no_failure(checkout, mode, stdout):
    done = shell([checkout, *mode.split()], stdout)
    assert (done.returncode, done.stderr) == (1 if "check" in mode else 0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: checkout"),
        (["a", "b"], "unrecognized arguments: b"),
        (["--check", "--revert", "a"], "not allowed with argument"),
        (["a", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["a", "--diff", "--verify"], "--verify does not go with --diff"),
        (["a", "--revert", "--verify"], "--verify does not go with --revert"),
        ([""], "argument checkout: it is empty"),
        (["a\0b"], "argument checkout: it holds a NUL character"),
        (["a", "--check=1"], "ignored explicit argument '1'"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("asked", ["--json", "--js", "--j"])
def test_a_usage_error(capsys, arguments, message, asked):
    assert apply_patch.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "\nusage: " in captured.err
    for place in range(len(arguments) + 1):
        assert apply_patch.main([*arguments[:place], asked, *arguments[place:]]) == 2
        captured = capsys.readouterr()
        assert captured.err == ""
        seen = json.loads(captured.out)
        assert (seen["exit_code"], seen["error"]["kind"]) == (2, "usage")
        assert message in seen["error"]["message"]


def test_json_that_is_not_asked_for(capsys):
    """A wrong --json asks for it too; behind -- it is a checkout of that name."""
    assert apply_patch.main(["a", "--json=yes"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage"
    for arguments in (["--", "a", "--json"], ["a", "--jason"], ["a", "--jsonx"], ["--check", "-"], ["a", "--nojson"]):
        assert apply_patch.main(arguments) == 2
        assert capsys.readouterr().out == ""


@pytest.mark.skipif(os.name != "posix", reason="Windows has other limits")
@pytest.mark.parametrize("name", ["x" * 300, "é" * 200, "/".join(["y" * 200] * 40)], ids=["name", "bytes", "path"])
@pytest.mark.parametrize("mode", [[], ["--check"], ["--revert"]], ids=str)
def test_a_name_that_is_too_long(checkout, run, name, mode):
    code, _, message = run(*mode, path=checkout / name)
    assert code == 2
    assert "is too long" in message
    assert "readable" not in message
    with pytest.raises(PatchError, match="is too long"):
        locate(checkout / name)


ODD = b"caf\xe9 'x' \xff\\1"


@pytest.fixture
def odd(checkout):
    """A checkout whose path is not UTF-8, where the file system takes such a name."""
    try:
        return checkout.rename(checkout.with_name(os.fsdecode(ODD)))
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")


def strict(text):
    """Read JSON as a parser does that refuses half a surrogate pair, as most do."""
    seen = json.loads(text)
    json.dumps(seen, ensure_ascii=False).encode()  # raises UnicodeEncodeError
    if shutil.which("jq"):
        message = subprocess.run(["jq", "-e", ".checkout"], input=text.encode(), capture_output=True)
        assert json.loads(message.stdout) == seen["checkout"]
    return seen


def test_a_path_that_is_not_utf_8(odd):
    spelled = r"caf\xe9 'x' \xff\1"
    for mode in (["--check"], ["--diff"], [], ["--check"], ["--revert"]):
        done = subprocess.run([sys.executable, SCRIPT, odd, "--json", *mode], capture_output=True)
        seen = strict(done.stdout.decode())
        assert seen["checkout"].endswith(f"/{spelled}")
        assert seen["exit_code"] == done.returncode
        if not mode:
            command = seen["next_command"].replace("python train.py", "pwd #")
            assert subprocess.run(["bash", "-c", command], capture_output=True).stdout == os.fsencode(odd) + b"\n"
    (odd / "models/yolo.py").write_bytes(b"\xff")
    done = subprocess.run([sys.executable, SCRIPT, odd, "--json"], capture_output=True)
    assert spelled in strict(done.stdout.decode())["error"]["message"]
    done = subprocess.run([sys.executable, SCRIPT, odd], capture_output=True)
    assert spelled in done.stderr.decode()


def test_a_file_that_is_not_utf_8_in_the_json(checkout, run):
    host = checkout / "train.py"
    text = host.read_bytes().replace(b"import logging\n", b"import logging  # caf\xe9\n", 1)
    host.write_bytes(b"# coding: latin-1\n" + text)
    _, out, _ = run("--diff", "--json")
    assert "\n import logging  # caf\\xe9\n" in strict(out)["diff"]


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=20))
def test_every_text_becomes_valid_and_stays_if_it_is(text):
    seen = without_surrogates(text)
    seen.encode()
    try:
        text.encode()
        assert seen == text
    except UnicodeEncodeError:
        assert seen != text


@given(st.binary(max_size=20).map(lambda content: content.replace(b"\0", b"")))
def test_bytes_are_told_apart_as_python_itself_tells_them(content):
    text = content.decode("utf-8", "surrogateescape")
    assert without_surrogates(text) == content.decode("utf-8", "backslashreplace")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_a_quoted_path_is_that_path_to_a_shell():
    for content in (b"plain", b"a b", b"it's", b"\xff", ODD, b"\\xff\xff0", b"$(x)\xe9`y`\n", b"a\\'b\xe9"):
        line = without_surrogates(f"printf %s {quoted(os.fsdecode(content))}")
        assert subprocess.run(["bash", "-c", line.encode()], capture_output=True).stdout == content


def test_a_person_reads_a_few_lines(checkout, run):
    """And a line for each file with --verbose; each command that is shown works when it is pasted."""
    files = set(tree(checkout))
    code, _, message = run()
    added = {name for name in set(tree(checkout)) - files if (checkout / name).is_file()}
    assert code == 0
    assert message.splitlines() == [
        f"Added {len(added)} files below models/.",
        "Changed train.py, models/tf.py and models/yolo.py.",
        *[line for line in message.splitlines() if line.startswith("Note: ")],
        f"Train:  cd {checkout} && python train.py --cfg yolov5-efficientvit.yaml --weights='' --data path/to/data.yaml",
        f"Revert: python {SCRIPT} {checkout} --revert",
    ]
    assert run("--check", "--verbose")[2].count("\n") == 1
    revert = message.splitlines()[-1].partition(" python ")[2]
    done = subprocess.run(f"cd / && {sys.executable} {revert}", shell=True, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"Removed {len(added)} files below models/.",
        "Took the patch out of models/yolo.py, models/tf.py and train.py.",
        f"{checkout} is as it was before the patch.",
    ]
    assert set(tree(checkout)) == files
    message = run("--verbose")[2]
    assert {line.split()[1] for line in message.splitlines() if line.startswith("created ")} == added


def test_a_refusal_names_a_few_files_and_all_with_verbose_or_json(checkout, run):
    run()
    names = [f"models/backbone/{name}.py" for name in ("__init__", "batch_norm", "contract", "frozen", "registry")]
    for name in names:
        (checkout / name).write_text("# edited\n")
    code, _, message = run()
    assert code == 2
    assert [name for name in names if name in message] == names[:4]
    assert "and 1 more; --verbose names them all." in message
    code, _, message = run("--verbose")
    assert (code, message.splitlines()[1:]) == (2, [f"  {name}" for name in names])
    assert json.loads(run("--json")[1])["error"]["files"] == names
