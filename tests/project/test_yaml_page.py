"""docs/yaml.md: its tables are the signatures of the backbones, and its rows can be built."""

import inspect
import re

import pytest
import yaml

from models.backbone.registry import backbone_class
from models.backbone.yolo.index_rule import fill_indices, index_count
from models.backbone.yolo.rows import BackboneRows
from tests import REPOSITORY
from tests.project.test_commands import FENCE

PAGE = (REPOSITORY / "docs" / "yaml.md").read_text(encoding="utf-8")
ROWS = [
    row
    for language, text in FENCE.findall(PAGE)
    if language == "yaml"
    for row in yaml.safe_load(text)["backbone"]
    if row[2] != "SPPF"
]


def table(heading):
    """Return the cells of the first table below a heading, without its head."""
    _, _, rest = PAGE.partition(f"\n## {heading}\n")
    lines = re.search(r"(?:^\|.*\n)+", rest, re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(("heading", "name"), [("EfficientViT", "EfficientViT_M0"), ("TimmBackbone", "TimmBackbone")])
def test_the_arguments_are_those_of_the_class(heading, name):
    _, *parameters = inspect.signature(backbone_class(name)).parameters.values()
    assert [row[0].strip("`") for row in table(heading)] == [parameter.name for parameter in parameters]
    for row, parameter in zip(table(heading), parameters):
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        told = row[1].strip("`")
        assert told == ("required" if default is parameter.empty else repr(default)), parameter.name


def test_the_index_rule_is_that_of_the_code():
    for strides, numbers, empty, following in table("The index rule"):
        strides = list(map(int, strides.split(", ")))
        places = fill_indices(strides)
        assert numbers == ", ".join(str(place) for place, stride in enumerate(places) if stride)
        assert empty == (", ".join(str(place) for place, stride in enumerate(places) if not stride) or "none")
        assert int(following) == index_count(len(strides))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2])
def test_the_rows_are_built(row):
    """Without their weights, which are a network and a file away."""
    source, number, name, args = row
    if name == "TimmBackbone":
        pytest.importorskip("timm")
        args = [args[0], False, *args[2:]]
    else:
        args = ["", *args[1:]]
    rows, layers = BackboneRows(lambda line: None), []
    channels = rows.build(0, source, number, name, args, [3], [], layers)
    assert layers[0].strides == (8, 16, 32)
    assert [width for width in channels if width] == list(layers[0].channels)


def test_there_are_rows_to_build():
    assert {row[2] for row in ROWS} == {"EfficientViT_M2", "TimmBackbone"}
