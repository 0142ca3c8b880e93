"""benchmarks.photographs: what it says of data sets that cannot be trained on, and a study that is cut off and goes on."""

import json
import re
import shutil
import threading
import zipfile

import pytest
import yaml

pytest.importorskip("matplotlib")
pytest.importorskip("torch")
from benchmarks import host
from benchmarks.photographs import __main__ as harness
from benchmarks.photographs import page
from benchmarks.photographs.curves import combinations
from benchmarks.photographs.dataset import check_dataset, labels_of
from benchmarks.photographs.trial import epochs_of
from demo.dataset import write_dataset
from tests import REPOSITORY


@pytest.fixture
def dataset(tmp_path):
    """The folder of a small data set in YOLO format."""
    return write_dataset(tmp_path / "data", 64, {"train": 4, "val": 2}).parent


def test_a_data_set_is_described(dataset):
    data = check_dataset(dataset)
    assert data == {**check_dataset(dataset / "data.yaml"), "nc": 4}
    assert data["train"] == str(dataset / "images" / "train")
    lines = [path.read_text().splitlines() for path in sorted((dataset / "labels" / "train").iterdir())]
    assert data["counts"]["train"] == {"images": 4, "boxes": sum(map(len, lines))}


def test_labels_are_looked_for_where_yolov5_does(tmp_path):
    image = tmp_path / "images" / "of" / "images" / "a.b.jpg"
    assert labels_of(image) == tmp_path / "images" / "of" / "labels" / "a.b.txt"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4 0.5 0.5 0.1 0.1", r"a\.txt, line 3: class 4; the yaml has classes 0 to 3"),
        ("-1 0.5 0.5 0.1 0.1", "line 3: class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "line 3: class 0.5"),
        ("0 0.5 0.5 1.5 0.1", r"line 3: 0 0\.5 0\.5 1\.5 0\.1\. A line is a class and"),
        ("0 0.5 0.5 0.1", "A line is a class and"),
        ("0 0.5 nan 0.1 0.1", "A line is a class and"),
        ("circle 0.5 0.5 0.1 0.1", "are not numbers"),
    ],
)
def test_a_wrong_label_is_named_by_file_and_line(dataset, line, message):
    image = next((dataset / "images" / "val").iterdir())
    image.rename(image.with_name(f"a{image.suffix}"))
    (dataset / "labels" / "val" / "a.txt").write_text(f"\n0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(SystemExit, match=message):
        check_dataset(dataset)


def test_what_is_missing_is_named(dataset):
    (dataset / "none").mkdir()
    with pytest.raises(SystemExit, match=r"none.data\.yaml is not there"):
        check_dataset(dataset / "none")
    file = dataset / "data.yaml"
    content = file.read_text()
    file.write_text(content.replace("images/val", "images/test"))
    with pytest.raises(SystemExit, match=r"data\.yaml: val is .*test, and .*images.test is no folder"):
        check_dataset(dataset)
    file.write_text(content.replace("images/val", "labels"))
    with pytest.raises(SystemExit, match="holds no images"):
        check_dataset(dataset)
    file.write_text("names: [a]\n")
    with pytest.raises(SystemExit, match=r"data\.yaml needs three entries"):
        check_dataset(file)
    file.write_text(content)
    for path in (dataset / "labels" / "val").iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match=r"has 2 images and no label.*labels.val"):
        check_dataset(dataset)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("names:", "names: [", "is no yaml: while parsing"),
        ("train: .*", "train:", r"train is None\. Give one folder"),
        ("train: .*", "train: [images/train]", r"train is \['images/train'\]\. Give one folder"),
        ("names:", "names: 4 #", "names is 4"),
        ("nc: 4", "nc: 5", "nc is 5, and names has 4 classes"),
        ("names:", "names: {1: one, 2: two} #", r"names is \{1: 'one', 2: 'two'\}. Give a list"),
    ],
)
def test_a_wrong_yaml_is_named(dataset, old, new, message):
    file = dataset / "data.yaml"
    file.write_text(re.sub(old, new, file.read_text()))
    with pytest.raises(SystemExit, match=rf"data\.yaml.*{message}"):
        check_dataset(dataset)


def test_labels_that_are_no_text_are_named(dataset):
    labels = next((dataset / "labels" / "train").iterdir())
    labels.write_bytes(b"\xff\xfe0\x00")
    with pytest.raises(SystemExit, match=rf"{labels.name} is no text file"):
        check_dataset(dataset)


def test_names_by_number_and_a_folder_as_roboflow_writes_it(dataset):
    file = dataset / "data.yaml"
    content = yaml.safe_load(file.read_text())
    by_number = dict(reversed([*enumerate(content["names"])]))
    file.write_text(yaml.safe_dump({**content, "path": None, "names": by_number, "val": "../images/val"}))
    data = check_dataset(dataset)
    assert data["names"] == content["names"]
    assert data["val"] == str(dataset / "images" / "val")


@pytest.mark.newest_release
@pytest.mark.usefixtures("real_checkout")
def test_a_study_goes_on_where_it_was_cut_off(dataset, tmp_path, monkeypatch, capsys):
    release = (REPOSITORY / host.RELEASE).resolve()
    if not release.is_dir():
        pytest.skip(f"{host.RELEASE} is not there; `make test` unpacks it")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host, "RELEASE", release)
    result, folder = (
        tmp_path / "small.json",
        harness.BUILD / "small" / "yolov5-efficientvit-SGD-residual_branches_from_1-seed_3",
    )
    recipe = "SGD, residual branches from 1"
    command = ["--data", str(dataset), "--models", "yolov5-efficientvit", "--recipes", recipe, "--seeds", "3"]
    command += ["--epochs", "3", "--image-size", "64", "--batch-size", "4", "--jobs", "1", "--result", str(result)]

    class StopAfterOneEpoch(threading.Event):
        def wait(self, timeout=None):
            return (epochs_of(folder) > 0 and zipfile.is_zipfile(folder / "weights" / "last.pt")) or super().wait(0.05)

    monkeypatch.setattr(harness, "Event", StopAfterOneEpoch)
    with pytest.raises(SystemExit, match="from 1, seed 3: training ended with exit code"):
        harness.main(command)
    assert not result.exists()
    assert 1 <= epochs_of(folder) < 3

    monkeypatch.setattr(harness, "Event", threading.Event)
    assert harness.main(command) == 0
    log = (folder / "log.txt").read_text()
    assert "Resuming training from" in log
    general = (harness.BUILD / "small" / "yolov5" / "utils" / "general.py").read_text(encoding="utf-8")
    assert re.findall("time_limit = .*", general) == ["time_limit = 1e6  # seconds"]
    assert log.count("altered: residuals_from_one") == 2, "the change is made again when the training goes on"
    content = json.loads(result.read_text())
    (run,) = content["runs"]
    assert (run["model"], run["recipe"], run["seed"]) == ("yolov5-efficientvit", recipe, 3)
    assert len(run["mAP50"]) == len(run["mAP50-95"]) == content["epochs"] == 3
    assert content["data set"]["train"]["images"] == 4

    capsys.readouterr()
    assert harness.main(command) == 0
    assert capsys.readouterr().out == "0 trainings to do, 1 done\n"
    with pytest.raises(SystemExit, match="was made with another image_size"):
        harness.main([*command, "--image-size", "96"])


def test_a_training_of_another_study_is_shared(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    settings = {"data set": {}, "image_size": 64, "batch_size": 4, "epochs": 1}
    done = [
        {"model": model, "recipe": "SGD", "seed": seed, "mAP50": [0.5], "mAP50-95": [0.2]}
        for model in ("yolov5n", "yolov5-efficientvit")
        for seed in (0, 1)
    ]
    (tmp_path / "photographs_recipes.json").write_text(json.dumps({**settings, "runs": done}))
    study = harness.Study(("yolov5n",), ("SGD",), (0, 1), 1)
    result = tmp_path / "photographs_models.json"
    assert harness.shared_runs(result, settings, study, done[:1]) == done[1:2]
    assert harness.shared_runs(result, {**settings, "epochs": 2}, study, []) == []


def study_of(**curves):
    """Return a study of one recipe, with the curves of each model's seeds."""
    runs = [
        {"model": model, "recipe": "SGD", "seed": seed, "minutes": 10.0 + seed, "mAP50": curve, "mAP50-95": curve}
        for model, of_seeds in curves.items()
        for seed, curve in enumerate(of_seeds)
    ]
    data = {"name": "few", "classes": 2, "train": {"images": 3, "boxes": 4}, "val": {"images": 5, "boxes": 6}}
    return {"data set": data, "image_size": 64, "batch_size": 4, "epochs": 20, "runs": runs}


def test_medians_and_what_a_curve_gains_late():
    rising, flat, high = [number / 20 for number in range(1, 21)], [0.5] * 19 + [0.4], [0.9] * 20
    one, several = combinations(study_of(yolov5n=[rising], yolov5s=[flat, rising, high]))
    assert one.median() == rising
    assert one.late_gain() == pytest.approx(0.25)  # the mean of 16 to 20, less that of 11 to 15, of 20
    assert one.below_best() == 0
    assert several.median() == [0.5] * 10 + [number / 20 for number in range(11, 19)] + [0.9, 0.9]
    assert several.minutes() == 11
    (falling,) = combinations(study_of(yolov5n=[flat]))
    assert falling.late_gain() == pytest.approx(-0.02)
    assert falling.below_best() == pytest.approx(0.1)


def test_the_page_says_how_many_curves_are_flat_and_how_much_seeds_differ():
    rising, flat = [number / 20 for number in range(1, 21)], [0.5] * 20
    both = combinations(study_of(yolov5n=[rising], yolov5s=[flat, flat]))
    assert page.flatness(both) == "1 of 2 curves is flat; the others still rise."
    assert page.flatness(both[1:]) == "All curves are flat."
    assert page.flatness(both[:1]) == "No curve is flat yet: all of them still rise."
    assert page.spread(both) == ""
    assert "up to 0.500 in" in page.spread(combinations(study_of(yolov5n=[rising, flat])))


def test_a_study_has_a_section_once_it_has_results(tmp_path, monkeypatch):
    for file in page.RESULTS.glob("photographs_*.json"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    (tmp_path / "photographs_causes.json").unlink(missing_ok=True)
    assert "learns slowly at first" not in page.text()
    curve = [0.0] * 5 + [0.1] * 5 + [0.2] * 10
    (tmp_path / "photographs_causes.json").write_text(json.dumps(study_of(**{"yolov5-efficientvit": [curve]})))
    section = page.text().partition("## Why M0 learns slowly at first")[2].partition("\n## ")[0]
    assert "| M0 | SGD | 0.100 | 0.200 | 0.200 | 0.200 | 10 |" in section


def test_a_time_limit_that_is_not_there_is_named(tmp_path):
    (tmp_path / "general.py").write_text("limit = 1\n")
    with pytest.raises(SystemExit, match=r"general\.py sets time_limit 0 times"):
        harness.lift_time_limit(tmp_path / "general.py")


def test_the_page_is_that_of_the_results():
    """If not, run `python -m benchmarks.photographs.page`."""
    assert (REPOSITORY / page.PAGE).read_text(encoding="utf-8") == page.text()
