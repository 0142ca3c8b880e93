"""The pictures of the documentation are those of the model as it is."""

from xml.etree import ElementTree

import pytest

from docs.pictures import photographs
from docs.pictures.__main__ import FOLDER, pictures
from docs.pictures.svg import LIGHT

DRAWN, NAMES = pictures(), photographs.NAMES.values()


def test_no_picture_is_left_over():
    plotted = {
        f"{name}-{theme}.svg" for name in ("speed", "runtimes") for theme in ("light", "dark")
    }  # by benchmarks/plot.py, with matplotlib
    assert {path.name for path in FOLDER.glob("*.svg")} == set(DRAWN) | plotted


@pytest.mark.parametrize("name", DRAWN)
def test_the_picture_is_up_to_date(name):
    """If not, run `python -m docs.pictures`, and look at what it drew."""
    assert (FOLDER / name).read_text(encoding="utf-8") == DRAWN[name]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("recipes", [1, 2, 3])
@pytest.mark.parametrize("best", ["yolov5s", None])
def test_a_panel_has_a_label_for_each_detector_and_none_covers_another(recipes, seeds, best):
    models = list(photographs.NAMES)
    runs = [
        {
            "model": model,
            "recipe": f"recipe {recipe}",
            "seed": seed,
            "mAP50-95": [0.0, 0.3 + seed / 100 if best in (None, model) else 0.0],
        }
        for model in models
        for recipe in range(recipes)
        for seed in range(seeds)
    ]
    study = {"data set": {"val": {"images": 5}}, "epochs": 2, "runs": runs}
    root = ElementTree.fromstring(photographs.draw_study(study, LIGHT))
    labels = [shape for shape in root.iter() if (shape.text or "").split()[:1] in [[name] for name in NAMES]]
    places = sorted((float(label.get("x")), float(label.get("y"))) for label in labels)
    assert len(places) == recipes * len(models)
    assert all(x < other or lower - y >= 14 for (x, y), (other, lower) in zip(places, places[1:]))
    assert max(y for _, y in places) < float(root.get("height")) - 50  # and not among the epochs
    thin = [shape for shape in root.iter() if shape.get("stroke-opacity")]
    assert len(thin) == (0 if seeds == 1 else recipes * len(models) * seeds)


@pytest.mark.parametrize("name", DRAWN)
def test_everything_lies_inside_the_picture(name):
    root = ElementTree.fromstring(DRAWN[name])
    width, height = float(root.get("width")), float(root.get("height"))
    places = [(float(shape.get("x")), float(shape.get("y"))) for shape in root.iter() if shape.get("x")]
    assert len(places) > 10
    assert all(0 <= x < width and 0 <= y < height for x, y in places)
