"""The survey of a folder of checkouts."""

import shutil

import pytest

from patches.trial.survey import main
from tests.conftest import MINIHOST

YOLO = "models/yolo.py"


@pytest.fixture
def folder(tmp_path):
    """Four checkouts: one as it is, one broken, one patched by hand, one that is no YOLOv5."""
    for name in ("a", "b/deeper", "c", "d"):
        shutil.copytree(MINIHOST, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "b/deeper" / YOLO).write_text("def (:\n")
    (tmp_path / "c" / YOLO).write_text("is_backbone = 1\n" + (tmp_path / "c" / YOLO).read_text("utf-8"), "utf-8")
    (tmp_path / "d" / YOLO).write_text("import torch\n")
    return tmp_path


def test_a_line_for_each_and_the_totals(folder, capsys):
    assert main([str(folder)]) == 1
    *lines, totals = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines[:4]] == ["a", "b/deeper", "c", "d"]
    assert [line[57:81].strip() for line in lines[:3]] == ["applies", "not valid Python", "hand-made patch"]
    assert "no function parse_model" in lines[3]
    assert "line 1: is_backbone belongs to a hand-made patch" in lines[2]
    assert totals == "1 of 2 that are neither broken nor patched by hand already, of 4"


def test_markdown(folder, capsys):
    shutil.rmtree(folder / "d")
    assert main([str(folder), "--markdown"]) == 0, "nothing that could be patched was refused"
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["| checkout | outcome | notes |", "| --- | --- | --- |", "| a | applies |  |"]


def test_run_builds_the_models_in_a_copy(folder, capsys, monkeypatch):
    from patches.trial import verify

    monkeypatch.setattr(verify, "YAMLS", "yolov5-efficientvit.yaml")
    for name in ("b", "c", "d"):
        shutil.rmtree(folder / name)
    before = (folder / "a" / YOLO).read_bytes()
    assert main([str(folder), "--run"]) == 0
    assert "built, run, trained and fused" in capsys.readouterr().out
    assert (folder / "a" / YOLO).read_bytes() == before
    (folder / "a" / "models/common.py").write_text("import no_such_package\n")
    assert main([str(folder), "--run"]) == 1
    assert "does not run" in capsys.readouterr().out


def test_a_folder_without_checkouts(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "holds no models/yolo.py" in capsys.readouterr().err
