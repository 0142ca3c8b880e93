"""The pictures of the documentation are those of the model as it is."""

from xml.etree import ElementTree

import pytest

from docs.pictures.__main__ import FOLDER, pictures

DRAWN = pictures()


def test_no_picture_is_left_over():
    plotted = {
        f"{name}-{theme}.svg" for name in ("speed", "runtimes") for theme in ("light", "dark")
    }  # by benchmarks/plot.py, with matplotlib
    assert {path.name for path in FOLDER.glob("*.svg")} == set(DRAWN) | plotted


@pytest.mark.parametrize("name", DRAWN)
def test_the_picture_is_up_to_date(name):
    """If not, run `python -m docs.pictures`, and look at what it drew."""
    assert (FOLDER / name).read_text(encoding="utf-8") == DRAWN[name]


@pytest.mark.parametrize("name", DRAWN)
def test_everything_lies_inside_the_picture(name):
    root = ElementTree.fromstring(DRAWN[name])
    width, height = float(root.get("width")), float(root.get("height"))
    places = [(float(shape.get("x")), float(shape.get("y"))) for shape in root.iter() if shape.get("x")]
    assert len(places) > 10
    assert all(0 <= x < width and 0 <= y < height for x, y in places)
