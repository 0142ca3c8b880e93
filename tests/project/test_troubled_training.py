"""The troubles of training in docs/troubleshooting.md: a run of YOLOv5 prints each, and the cure ends it."""

import re
import shutil

import pytest

from demo.host import scores
from tests.project.test_troubleshooting import OF_A_TRAINING, matches

pytestmark = [pytest.mark.training, pytest.mark.newest_release]


@pytest.fixture
def data(tmp_path):
    from demo.dataset import write_dataset  # needs Pillow

    return write_dataset(tmp_path / "data", 64, {"train": 8, "val": 4, "unseen": 1})


@pytest.fixture
def train(patched, data, tmp_path):
    """Runs train.py and returns its exit code and what it prints."""

    def run(*more, weights="--weights=", epochs=1):
        words = ["--cfg", "yolov5-efficientvit.yaml", weights, "--data", data, "--img-size", 64, "--device", "cpu"]
        words += ["--batch-size", 4, "--workers", 0, "--epochs", epochs, "--project", tmp_path / "runs", "--exist-ok"]
        words = [str(word) for word in (*words, *more)]
        done = patched.python("-m", f"{patched.prefix}train", *filter(None, words))
        return done.returncode, re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)

    return run


def labels_of(data, part):
    return sorted((data.parent / "labels" / part).glob("*.txt"))


def says(name, text):
    (heading,) = (heading for heading in OF_A_TRAINING if name in heading)
    return matches(heading, text)


def test_no_labels(train, data):
    shutil.move(data.parent / "labels", data.parent / "annotations")
    code, text = train()
    assert code == 1
    assert says("No labels found", text)
    shutil.move(data.parent / "annotations", data.parent / "labels")
    for cache in (data.parent / "labels").glob("*.cache"):
        cache.unlink()
    assert train()[0] == 0


def test_a_class_too_many(train, data):
    first = labels_of(data, "train")[0]
    first.write_text("4 0.5 0.5 0.2 0.2\n")
    code, text = train()
    assert code == 1
    assert says("exceeds nc", text)


def test_no_data_set(train, data):
    data.write_text(data.read_text().replace("images/val", "images/elsewhere"))
    code, text = train()
    assert code == 1
    assert says("Dataset not found", text)


def test_an_empty_argument_that_a_shell_drops(train):
    code, text = train(weights="--weights")
    assert code == 2
    assert says("expected one argument", text)


def test_scores_that_stay_zero(train):
    code, text = train()
    assert code == 0
    assert scores(text) == [0, 0, 0, 0]


def test_losses_that_are_no_number(train, tmp_path, patched):
    hyp = next((patched.root / "data" / "hyps").glob("hyp.scratch-low.yaml"))
    own = tmp_path / "hyp.yaml"
    own.write_text(re.sub(r"warmup_bias_lr: \S+", "warmup_bias_lr: 1.0e+30", hyp.read_text(encoding="utf-8")))
    _, text = train("--hyp", own, epochs=2)
    assert re.search(r"^\s*1/1\s+0G(\s+nan){3}\s", text, re.MULTILINE)
    _, text = train(epochs=2)
    assert "nan" not in text
