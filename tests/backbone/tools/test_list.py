"""The list of backbones: its rows, names with tags, odd patterns, and outputs that nobody reads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.backbone.__main__ import main
from tests import REPOSITORY

timm = pytest.importorskip("timm")
TAGGED = hasattr(timm, "list_pretrained") and timm.list_models("test_resnet", pretrained=True) != ["test_resnet"]


def listed(pattern, capsys):
    """Return the exit code, the names listed, and what is on stderr."""
    code = main(["list", pattern])
    captured = capsys.readouterr()
    head, *rows = captured.out.splitlines()
    assert head.startswith("name ")
    return code, [row.split()[0] for row in rows], captured.err


@pytest.mark.parametrize(
    ("pattern", "code", "expected", "also"),
    [
        ("test_resnet", 0, r"^test_resnet +\d\.\d M  2: \d+, 4: \d+, 8: \d+, 16: \d+, 32: \d+$", ""),
        ("EfficientViT_M0", 0, r"^EfficientViT_M0 +2\.2 M  8: 64, 16: 128, 32: 192$", ""),
        ("test_vit", 0, "^name", r"test_vit \(16\)"),
        ("no*such", 1, "^name", r"No backbone is called no\*such"),
    ],
    ids=["of timm", "ours", "other strides", "none"],
)
def test_a_pattern(pattern, code, expected, also, capsys):
    assert main(["list", pattern]) == code
    captured = capsys.readouterr()
    assert re.search(expected, captured.out, re.MULTILINE)
    assert re.search(also, captured.err)


@pytest.mark.skipif(not TAGGED, reason="timm before 0.9 has no tags")
@pytest.mark.parametrize(
    "pattern", ["test_resnet.r160_in1k", "test_resnet.*", "test_res*.r160*", "test_resnet.r160_in1?"]
)
def test_a_name_with_a_tag_is_found_as_a_row_may_carry_it(pattern, capsys):
    code, names, err = listed(pattern, capsys)
    assert (code, names, err) == (0, ["test_resnet.r160_in1k"], "")
    assert set(names) <= set(timm.list_models("test_resnet", pretrained=True))


def test_a_name_without_a_tag_stands_once(capsys):
    assert listed("test_resnet", capsys) == (0, ["test_resnet"], "")


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("test_resnet.nonsense", "test_resnet"),
        ("Test_ResNet", "test_resnet"),
        ("EfficientVit_M0", "EfficientViT_M0|efficientvit_m0"),
        ("resnet_18", "resnet18"),
        ("[", "without a pattern all are listed"),
        ("[!", "without a pattern all are listed"),
        (" ", "without a pattern all are listed"),
        ("目标", "without a pattern all are listed"),
        ("\udce9", "without a pattern all are listed"),
        ("../../etc/passwd", "without a pattern all are listed"),
    ],
)
def test_a_pattern_that_matches_nothing(pattern, near, capsys):
    code, names, err = listed(pattern, capsys)
    assert (code, names) == (1, [])
    spelled = pattern.encode("utf-8", "backslashreplace").decode()
    assert re.fullmatch(f"No backbone is called {re.escape(spelled)}; .*({near}).*\n", err)


def test_an_empty_pattern_is_not_all(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["list", ""])
    assert ended.value.code == 2
    assert "argument pattern: it is empty" in capsys.readouterr().err


def test_a_deprecated_name_is_built_as_a_row_builds_it(capsys, monkeypatch):
    monkeypatch.setattr(timm, "list_models", lambda *_, **__: [])  # timm lists no deprecated names, but builds them
    assert listed("test_resnet", capsys)[:2] == (0, ["test_resnet"])


LIST = "-m models.backbone list 'EfficientViT_M[01]'"
PRINT = "-c 'import sys, models.backbone.tools.console as console; sys.exit(not console.print_line(sys.version))'"


@pytest.mark.parametrize(
    ("program", "redirection", "code", "message"),
    [
        (LIST, "> >(exec head -c 1 > /dev/null)", None, ""),
        (PRINT, "> >(exec true)", None, ""),
        (
            LIST,
            "> /dev/full",
            1,
            "error: standard output cannot be written: No space left on device. Send it somewhere else.\n",
        ),
        (PRINT, ">&-", 1, "error: standard output cannot be written: it is closed. Send it somewhere else.\n"),
        (PRINT, "> /dev/full 2> /dev/full", 1, ""),
        (PRINT, "> /dev/full 2>&-", 1, ""),
    ],
)
def test_output_that_nobody_reads(program, redirection, code, message):
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    line = f"{sys.executable} {program} {redirection}"
    done = subprocess.run(["bash", "-c", line], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stderr == message
    assert done.returncode in ((0, 1) if code is None else (code,))
