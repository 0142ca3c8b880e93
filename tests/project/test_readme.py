"""The two READMEs say the same, and their numbers are those that were measured."""

import json
import re
import statistics

import pytest

from tests.project.test_commands import FENCE, REPOSITORY, commands_of
from tests.project.test_links import links_of

ENGLISH, CHINESE = REPOSITORY / "README.md", REPOSITORY / "README.zh-CN.md"
RESULTS = REPOSITORY / "benchmarks" / "results"
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)*")


def text_of(page):
    return page.read_text(encoding="utf-8")


def headings(page):
    """Return the level of each heading."""
    return [len(marks) for marks in re.findall(r"^(#+) ", FENCE.sub("", text_of(page)), re.MULTILINE)]


def tables(page):
    """Return the cells of each row of each table."""
    return [line.strip("|").split("|") for line in text_of(page).splitlines() if line.startswith("|")]


def code(page):
    """Return what stands between back quotes, and the lines of fences without their comments."""
    fences = [line.split("#")[0].rstrip() for _, body in FENCE.findall(text_of(page)) for line in body.splitlines()]
    return sorted(re.findall(r"`([^`\n]+)`", FENCE.sub("", text_of(page)))), fences


def test_they_have_the_same_headings():
    assert headings(CHINESE) == headings(ENGLISH)


def test_they_have_the_same_commands_and_code():
    assert commands_of(CHINESE) == commands_of(ENGLISH)
    assert code(CHINESE) == code(ENGLISH)


def test_their_tables_have_the_same_numbers():
    cells = [[NUMBER.findall(cell) for cell in row] for row in tables(ENGLISH)]
    assert [[NUMBER.findall(cell) for cell in row] for row in tables(CHINESE)] == cells
    assert sum(map(len, (cell for row in cells for cell in row))) > 30


def test_their_text_has_the_same_numbers():
    """In any order, because sentences are built otherwise."""
    text = {page: FENCE.sub("", text_of(page)) for page in (ENGLISH, CHINESE)}
    assert sorted(NUMBER.findall(text[CHINESE])) == sorted(NUMBER.findall(text[ENGLISH]))


def test_they_link_to_the_same_pages_and_to_each_other():
    pages = {page: sorted(link.partition("#")[0] for link in links_of(page)) for page in (ENGLISH, CHINESE)}
    assert "README.zh-CN.md" in pages[ENGLISH]
    assert ["README.zh-CN.md" if link == "README.md" else link for link in pages[CHINESE]] == pages[ENGLISH]


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def test_the_models_are_as_large_and_as_fast_as_measured():
    """Times are multiples of yolov5n's in the same runtime. Not every model was run in ONNX Runtime."""
    pytorch = {row["yaml"]: row["batch 1 time of yolov5n's"]["median"] for row in result("detectors")["rows"]}
    onnx = {}
    for row in result("runtimes")["rows"]:
        if row["runtime"] == "ONNX Runtime":
            ours, stock = row["ms"]["stock"] * row["ratio"]["median"], row["ms"]["stock"]  # the ratio is of pairs
            onnx.update({row["ours"]: ours, row["stock"]: stock})
    expected = []
    for row in result("model_sizes"):
        name = row["yaml"]
        time = f"{onnx[name] / onnx['yolov5n']:.2f}" if name in onnx else "\N{EN DASH}"
        size = [f"{row['parameters'] / 1e6:.1f} M", f"{row['gflops']:.1f}"]
        expected.append([f"`{name}.yaml`", *size, f"{pytorch[name]:.2f}", time])
    rows = [[cell.strip() for cell in row] for row in tables(ENGLISH) if row[0].strip().endswith(".yaml`")]
    assert [row[:1] + row[2:] for row in rows] == expected


def test_the_scores_on_photographs_are_those_measured():
    """The median of the seeds, after the last epoch."""
    scores = {}
    for run in result("photographs_models")["runs"]:
        scores.setdefault((run["model"], run["recipe"]), []).append(run["mAP50-95"][-1])
    rows = [[cell.strip() for cell in row] for row in tables(ENGLISH)]
    start = next(index for index, row in enumerate(rows) if row[0] == "mAP50-95 on photographs") + 2
    shown = {row[0]: row[1:] for row in rows[start : start + len({model for model, _ in scores})]}
    names = {"M0": "yolov5-efficientvit", "M2": "yolov5-efficientvit-m2"}
    for name, cells in shown.items():
        for recipe, cell in zip(("SGD", "AdamW 0.001"), cells):
            found = scores.get((names.get(name, name), recipe))
            assert cell == (f"{statistics.median(found):.3f}" if found else "\N{EN DASH}"), (name, recipe)
    assert {names.get(name, name) for name in shown} == {model for model, _ in scores}


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_the_families_of_timm_are_as_many_as_measured(page):
    sweep = result("timm_sweep")
    fitting = [row for row in sweep["rows"] if row["strides"] == [8, 16, 32]]
    passing = [row for row in fitting if "failed" not in row]
    paragraph = next(part for part in text_of(page).split("\n\n") if "benchmarks.timm_sweep" in part)
    assert {sweep["timm"], str(len(fitting)), str(len(passing))} <= set(NUMBER.findall(paragraph))
