"""Pages that a command writes are as it writes them now, so their figures are those of benchmarks/results."""

import json
import re

import pytest

from tests import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(REPOSITORY)


def test_speed_and_memory():
    from benchmarks import page

    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == page.text()


def test_choosing():
    from benchmarks import choosing_page

    text = (DOCS / "choosing.md").read_text(encoding="utf-8")
    assert text == choosing_page.filled(text)


def test_what_choosing_says_of_speed_is_so():
    """The sentences around the table, which are written by hand."""
    from benchmarks.choosing_page import rows_of

    ratios = {}
    for row in rows_of("runtimes"):
        ratios.setdefault(row["stock"], []).append(row["ratio"]["median"])
    assert min(ratios["yolov5n"]) > 1, "M0 is slower in every runtime"
    for stock in ("yolov5s", "yolov5m"):
        assert min(ratios[stock]) < 1 < max(ratios[stock]), "faster in some runtimes"


def test_what_speed_and_memory_says_of_onnx_runtime_is_so():
    from benchmarks.page import read

    (onnx,) = (row["against timm"] for row in read("exports")["rows"] if row["runtime"] == "ONNX Runtime")
    assert all(1 <= ratio["median"] < 1.1 for ratio in onnx.values())


def test_the_demonstration_learns_what_was_measured():
    """The sentence of docs/training.md, which is written by hand."""
    models = json.loads((REPOSITORY / "benchmarks/results/learning_curve.json").read_text())["models"]
    text = (DOCS / "training.md").read_text(encoding="utf-8")
    sentence = next(part for part in text.split("\n\n") if "benchmarks.learning_curve" in part)
    measured = {str(number) for model in models for number in (model["minutes"], model["mAP50"][-1])}
    assert {str(len(models[0]["mAP50"])), *measured} <= set(re.findall(r"\d+(?:\.\d+)?", sentence))
