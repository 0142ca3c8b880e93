"""The two READMEs say the same, and their numbers are those that were measured."""

import json
import re

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
    assert sum(map(len, (cell for row in cells for cell in row))) > 40


def test_their_text_has_the_same_numbers():
    """In any order, because sentences are built otherwise."""
    text = {page: FENCE.sub("", text_of(page)) for page in (ENGLISH, CHINESE)}
    assert sorted(NUMBER.findall(text[CHINESE])) == sorted(NUMBER.findall(text[ENGLISH]))


def test_they_link_to_the_same_pages_and_to_each_other():
    pages = {page: sorted(link.partition("#")[0] for link in links_of(page)) for page in (ENGLISH, CHINESE)}
    assert "README.zh-CN.md" in pages[ENGLISH]
    assert [link.replace("README.md", "README.zh-CN.md") for link in pages[CHINESE]] == pages[ENGLISH]


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_the_models_are_as_large_as_measured(page):
    measured = json.loads((RESULTS / "model_sizes.json").read_text())
    message = {row[0].strip(" `"): row[2:4] for row in tables(page) if row[0].strip().endswith(".yaml`")}
    expected = {
        f"{row['yaml']}.yaml": [f" {row['parameters'] / 1e6:.1f} M ", f" {row['gflops']:.1f} "] for row in measured
    }
    assert message == expected


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_the_families_of_timm_are_as_many_as_measured(page):
    result = json.loads((RESULTS / "timm_sweep.json").read_text())
    fitting = [row for row in result["rows"] if row["strides"] == [8, 16, 32]]
    passing = [row for row in fitting if "failed" not in row]
    paragraph = next(part for part in text_of(page).split("\n\n") if "benchmarks.timm_sweep" in part)
    assert {result["timm"], str(len(fitting)), str(len(passing))} <= set(NUMBER.findall(paragraph))


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_the_demonstration_learns_what_was_measured(page):
    models = json.loads((RESULTS / "learning_curve.json").read_text())["models"]
    measured = {str(number) for model in models for number in (model["minutes"], model["mAP50"][-1])}
    paragraph = next(part for part in text_of(page).split("\n\n") if "benchmarks.learning_curve" in part)
    assert {str(len(models[0]["mAP50"])), *measured} <= set(NUMBER.findall(paragraph))
