"""What a user can get wrong with the files of move_over: a message that helps, and every file as it was."""

import builtins
import errno
import os
import re
import sys
import types
from pathlib import Path

import pytest
import torch

from models.backbone.__main__ import main
from models.backbone.tools import move_over
from tests import golden
from tests.backbone.tools.test_move_over import YAML, host, save, state_of  # noqa: F401 - fixtures
from tests.patches.install.test_transaction import tree

CFG = "nc: 80\nbackbone: [[-1, 1, EfficientViT_M0, []]]\nhead: []\n"


@pytest.fixture
def old(save):  # noqa: F811
    return save()


@pytest.fixture
def any_file(tmp_path):
    """An input of which no more is asked than that it can be read; the work must not begin."""
    (tmp_path / "old.pt").write_bytes(b"")
    return tmp_path / "old.pt"


@pytest.fixture
def refused(tmp_path, capfd):
    """Runs the command line and returns its message, without what every one has; no file may have changed."""

    def run(*arguments):
        before = tree(tmp_path)
        assert main(["move-over", *map(str, arguments)]) == 1
        assert tree(tmp_path) == before
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("Not converted: ")
        assert err.count("\n") == 1
        assert "a bug" not in err
        return err

    return run


@pytest.fixture
def no_work(monkeypatch):
    """The work must not begin."""
    monkeypatch.setattr(move_over, "move_over", lambda *_: pytest.fail("it worked for nothing"))


# the output, made ready in a folder, and what the message says
OUTPUTS = {
    "a folder that is not there": (lambda at: at / "none" / "new.pt", "none is no folder; make it first"),
    "a file for a folder": (lambda at: at / "old.pt" / "new.pt", "old.pt is no folder; make it first"),
    "a file that is there": (lambda at: at / "old.pt", "old.pt exists already; name another file to write"),
    "a folder": (lambda at: at, "exists already; name another file to write"),
    "a device": (lambda at: Path(os.devnull), "exists already; name another file to write"),
    "a link to nothing": (
        lambda at: ((at / "link").symlink_to(at / "nothing"), at / "link")[1],
        "link exists already; name another file to write",
    ),
    "a link to the input": (
        lambda at: ((at / "link").symlink_to(at / "old.pt"), at / "link")[1],
        "link exists already; name another file to write",
    ),
    "a long name": (lambda at: at / ("x" * 300), "cannot be written (File name too long); name a file"),
    "a NUL": (lambda at: at / "a\0b", "cannot be written (embedded null byte); name a file"),
    "no name": (lambda at: "", ". exists already; name another file to write"),
}


@pytest.mark.skipif(os.name != "posix", reason="the messages are those of POSIX")
@pytest.mark.parametrize("what", OUTPUTS)
def test_an_output_that_cannot_be_made_is_told_before_the_work(refused, any_file, tmp_path, no_work, what):
    output, expected = OUTPUTS[what]
    new = output(tmp_path)
    assert expected in refused(any_file, new)


@pytest.mark.parametrize("number", ["EACCES", "EROFS", "ENOSPC", "EDQUOT", "EIO"])
def test_an_output_that_the_system_refuses_to_make(refused, any_file, tmp_path, no_work, monkeypatch, number):
    error = OSError(getattr(errno, number), os.strerror(getattr(errno, number)))
    opened = builtins.open

    def refuse(path, mode="r", *arguments, **options):
        if "x" in mode or "w" in mode:
            raise error
        return opened(path, mode, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refuse)
    printed = refused(any_file, tmp_path / "new.pt")
    assert f"new.pt cannot be written ({error.strerror}); name a file in a folder that you may write to" in printed


def test_a_disk_that_fills_up(old, tmp_path):
    """A limit on the size of files stands for the disk: it fails in the same call, in a process of its own."""
    resource = pytest.importorskip("resource")
    before = tree(tmp_path)
    child = os.fork()
    if not child:
        try:
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            stderr = os.open(tmp_path.parent / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(stderr, 2)
            sys.stderr = os.fdopen(2, "w")
            os._exit(main(["move-over", str(old), str(tmp_path / "new.pt")]))
        finally:
            os._exit(99)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 1
    printed = (tmp_path.parent / "stderr").read_text()
    assert "new.pt cannot be written (File too large); make room, or name another place" in printed
    assert tree(tmp_path) == before


INPUTS = {
    "missing": (lambda at: at / "none.pt", "none.pt does not exist, seen from "),
    "a folder": (lambda at: at, " is a folder; "),
    "a device": (lambda at: Path(os.devnull), "/dev/null is no regular file; "),
    "a long name": (lambda at: at / ("x" * 300), " cannot be read (File name too long); "),
    "a NUL": (lambda at: at / "a\0b", " does not exist, seen from "),
    "no name": (lambda at: "", ". is a folder; "),
    "a loop": (lambda at: ((at / "l").symlink_to(at / "l"), at / "l")[1], "l does not exist, seen from "),
    "behind a file": (lambda at: at / "old.pt" / "x", "x does not exist, seen from "),
}


@pytest.mark.skipif(os.name != "posix", reason="the messages are those of POSIX")
@pytest.mark.parametrize("what", INPUTS)
def test_an_input_that_is_no_file(refused, old, tmp_path, what):
    path, expected = INPUTS[what]
    given = path(tmp_path)
    assert re.search(f"{re.escape(expected)}.*give the best.pt or last.pt", refused(given, tmp_path / "new.pt"))
    assert re.search(f"{re.escape(expected)}.*as --cfg", refused(old, tmp_path / "new.pt", "--cfg", given))


def test_an_input_that_may_not_be_read(any_file, tmp_path, monkeypatch, capsys, no_work):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert main(["move-over", str(any_file), str(tmp_path / "new.pt")]) == 1
    assert "old.pt cannot be read (Permission denied); give the best.pt" in capsys.readouterr().err


CONTENTS = {
    "empty": b"",
    "text": b"hello",
    "web page": b"<!doctype html>",
    "pickle": b"\x80\x02.",
    "cut off": b"PK\x03\x04",
    "yaml": CFG.encode(),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_an_input_that_is_no_checkpoint(refused, tmp_path, what):
    (tmp_path / "other.pt").write_bytes(CONTENTS[what])
    assert "the yaml or leave weights" not in refused(tmp_path / "other.pt", tmp_path / "new.pt")


YAMLS = {
    "empty": (b"", "has no yaml with backbone rows"),
    "a list": (b"- 1\n- 2\n", "has no yaml with backbone rows"),
    "a word": (b"hello", "has no yaml with backbone rows"),
    "a number": (b"1", "has no yaml with backbone rows"),
    "without backbone": (b"nc: 2\n", "has no yaml with backbone rows"),
    "backbone of no rows": (b"backbone: [1, 2]\n", "has no yaml with backbone rows"),
    "backbone of short rows": (b"backbone: [[-1, 1]]\n", "has no yaml with backbone rows"),
    "broken": (b"backbone: [[-1, 1\n", "is no yaml (ParserError: "),
    "tabs": (b"a:\n\t- b\n", "is no yaml (ScannerError: "),
    "of Python's own tags": (b"!!python/object/apply:os.getcwd []\n", "is no yaml (ConstructorError: "),
    "two documents": (b"a: 1\n---\nb: 2\n", "is no yaml (ComposerError: "),
    "a date that is none": (b"a: 2020-99-99\n", "is no yaml (ValueError: "),
    "a key that is a list": (b"? [a]\n: 1\n", "is no yaml (ConstructorError: "),
    "endless": (b"[" * 20_000, "is no yaml (RecursionError: "),
    "UTF-16": (CFG.encode("utf-16"), "is no yaml (ReaderError: "),
}
EMPTY = move_over.OldDetector("DetectionModel", None, None, {}, {}, [], {}, 0.0)


@pytest.mark.parametrize("what", YAMLS)
def test_a_yaml_that_is_none(tmp_path, what):
    content, expected = YAMLS[what]
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=f"own.yaml {re.escape(expected)}.*; give the model yaml .* as --cfg$"):
        move_over.choose_yaml(EMPTY, tmp_path / "own.yaml", tmp_path / "old.pt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("backbone: [[-1, 1, EfficientViT_M0, []]]\nhead: []\nnc: x\n", "(TypeError: "),
        (CFG + "unknown: Nonsense\n", "(KeyError: 'Nonsense')"),
        ("backbone: [[-1, 1", "own.yaml is no yaml (ParserError: "),
    ],
    ids=["classes", "modules", "broken"],
)
def test_a_yaml_that_cannot_be_built(refused, tmp_path, save, text, expected):  # noqa: F811
    (tmp_path / "own.yaml").write_text(text)
    message = refused(save(yaml=None), tmp_path / "new.pt", "--cfg", tmp_path / "own.yaml")
    assert f"own.yaml {expected}" in message or expected in message


def test_a_checkpoint_given_as_the_yaml(refused, old, tmp_path):
    message = refused(old, tmp_path / "new.pt", "--cfg", old)
    assert f"{old} is no yaml (ReaderError: " in message
    assert message.endswith("give the model yaml that the detector was trained with as --cfg\n")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gbk", "latin-1"])
def test_a_yaml_is_read_as_yolov5_reads_it(old, tmp_path, encoding):
    comment = "# caf\xe9\n" if encoding == "latin-1" else "# 目标检测\n"
    (tmp_path / "own.yaml").write_bytes((comment + CFG).encode(encoding))
    assert main(["move-over", str(old), str(tmp_path / "new.pt"), "--cfg", str(tmp_path / "own.yaml")]) == 0


@pytest.mark.parametrize(
    "error",
    [SyntaxError("bad"), AssertionError(), ImportError("x"), RecursionError("deep"), ValueError("v"), OSError(5)],
)
def test_whatever_the_host_raises_is_reported(refused, old, tmp_path, host, error):  # noqa: F811
    def fail(*_, **__):
        raise error

    host.DetectionModel = fail
    assert f"this YOLOv5 cannot build the yaml of {old} ({type(error).__name__}: " in refused(old, tmp_path / "new.pt")


def test_a_folder_that_is_no_checkout(refused, old, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "models.yolo", None)  # which makes its import fail
    assert "run this in a patched checkout" in refused(old, tmp_path / "new.pt")


def test_a_host_without_the_class(refused, old, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "models.yolo", types.ModuleType("models.yolo"))
    assert "is a DetectionModel, which this YOLOv5 lacks" in refused(old, tmp_path / "new.pt")


def test_a_bug_is_no_traceback(old, tmp_path, capsys, monkeypatch):
    for error, expected, code in (
        (KeyError("x"), "KeyError: 'x'. This is a bug in move-over", 1),
        (KeyboardInterrupt(), "interrupted", 130),
    ):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(move_over, "move_over", fail)
        assert main(["move-over", str(old), str(tmp_path / "new.pt")]) == code
        assert f"Not converted: {expected}" in capsys.readouterr().err
        assert not (tmp_path / "new.pt").exists()


def test_tensors_without_anchors_are_missing_ones(save, tmp_path, host, refused):  # noqa: F811
    """YOLOv5 v5.0 keeps a product of the anchors, which the file need not hold."""

    class WithAnchors(host.DetectionModel):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.register_buffer("anchors", torch.ones(3, 1, 2))
            self.register_buffer("anchor_grid", torch.ones(3, 1, 2))

    host.DetectionModel = WithAnchors
    state = state_of(golden.checkpoint("detector/m0"))
    assert "missing: anchor" in refused(save(state), tmp_path / "new.pt")
