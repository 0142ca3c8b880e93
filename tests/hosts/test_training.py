"""Every way to train, validate and detect that YOLOv5 offers, for real, on the smallest data that exercises it.

Left out of plain `pytest`: `make test-training` runs it on the newest release, `pytest -m training --yolov5=...` on
the user's checkout.
"""

import re
import subprocess
import sys
import time

import pytest

from tests import TESTS

pytestmark = pytest.mark.training

IMAGE_SIZE = 64  # pixels
LAST = "train/weights/last.pt"


@pytest.fixture(scope="session")
def data(patched, tmp_path_factory):
    """A handful of images."""
    from demo.dataset import write_dataset  # needs Pillow

    return write_dataset(tmp_path_factory.mktemp("data") / "shapes", IMAGE_SIZE, {"train": 8, "val": 4, "unseen": 1})


class Runs:
    """Runs the host's commands into one folder."""

    def __init__(self, host, data, folder, device="cpu", image_size=IMAGE_SIZE):
        self.host, self.data, self.folder = host, data, folder
        self.common = ["--img-size", image_size, "--project", folder, "--exist-ok", "--device", device]

    def __call__(self, module, *options, name=None):
        arguments = [*options, *self.common, "--name", name or module.rpartition(".")[2]]
        if module != "train" or has(self.host, "--noplots"):
            return self.host.run(module, arguments)
        script = TESTS / "train_without_plots.py"
        done = self.host.python(script, self.host.prefix, *arguments, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def train(self, *options, weights="", epochs=1, module="train", cfg="yolov5-efficientvit.yaml", **names):
        settings = ["--data", self.data, "--epochs", epochs, "--batch-size", 4, "--workers", 0, "--weights", weights]
        settings += ["--noplots"] if has(self.host, "--noplots") else []
        return self(module, *settings, *(["--cfg", cfg] if cfg else []), *options, **names)

    def train_killed_and_resumed(self):
        """Kill a training of three epochs after the first, resume it, and return the numbers of the epochs since."""
        host, weights = self.host, self.folder / "killed" / "weights" / "last.pt"
        command = [sys.executable, "-m", f"{host.prefix}train", "--cfg", "yolov5-efficientvit.yaml", "--weights", ""]
        command += ["--data", self.data, "--epochs", 3, "--batch-size", 4, "--workers", 0, "--name", "killed"]
        command += [*self.common, *(["--noplots"] if has(host, "--noplots") else [])]
        process = subprocess.Popen([str(part) for part in command], cwd=host.import_path, env=host.environment)
        while process.poll() is None and not (weights.parent / "best.pt").is_file():  # written after last.pt
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert weights.is_file()
        output = host.run("train", ["--resume", weights])
        assert "Traceback" not in output
        # at each step, the progress bar returns to the line's start, or in today's master clears the line
        return set(re.findall(r"^ +(\d)/2 ", re.sub(r"\r|\x1b\[K", "\n", output), re.MULTILINE))

    def val(self, weights, *options, **names):
        return self(self.host.val_module, "--weights", weights, "--data", self.data, *options, **names)

    def detect(self, weights, *options):
        return self("detect", "--weights", weights, "--source", self.data.parent / "images" / "unseen", *options)


@pytest.fixture
def runs(patched, data, tmp_path):
    return Runs(patched, data, tmp_path)


@pytest.fixture(scope="session")
def trained(patched, data, tmp_path_factory):
    """A detector trained for two epochs: its last.pt, and what training printed."""
    runs = Runs(patched, data, tmp_path_factory.mktemp("trained"))
    output = runs.train(epochs=2)
    return runs.folder / LAST, output


def has(host, text, name="train.py"):
    """Whether a script of the host mentions something."""
    path = host.root / name
    return path.is_file() and text in path.read_text(encoding="utf-8")


def scores(output):
    """Return precision, recall, mAP50 and mAP50-95 of the last row of all classes, as printed."""
    return re.findall(r"^\s*all" + r"\s+(\S+)" * 6 + r"\s*$", output, re.MULTILINE)[-1][2:]


@pytest.mark.parametrize(
    "options",
    [
        ["--multi-scale"],
        ["--rect"],
        ["--image-weights"],
        ["--cache"],
        ["--single-cls"],
        ["--sync-bn"],
        ["--optimizer", "Adam"],
        ["--optimizer", "AdamW"],
        ["--adam"],
        ["--cos-lr"],
        ["--quad"],
        ["--label-smoothing", "0.1"],
    ],
    ids=lambda options: " ".join(options)[2:],
)
def test_train(runs, options):
    if not has(runs.host, options[0]) or (options[-1] == "AdamW" and not has(runs.host, "AdamW")):
        pytest.skip(f"this release has no {' '.join(options)}")
    runs.train(*options)
    assert (runs.folder / LAST).is_file()


def test_freeze_counts_modules(runs):
    if not has(runs.host, "--freeze"):
        pytest.skip("this release has no --freeze")
    output = runs.train("--freeze", "1", name="backbone")
    assert "freezing model.0.stem" in output
    assert "freezing model.1." not in output
    assert "--freeze counts modules" not in output
    assert "besides it, layers 5 (SPPF), 6 (Conv)" in runs.train("--freeze", "10", name="more")


def test_evolve_for_one_generation(runs):
    runs.train("--evolve", "1")
    assert list(runs.folder.rglob("hyp_evolve*.yaml"))


def test_resume(runs):
    """A training that is killed after its first epoch goes on with the second."""
    assert runs.train_killed_and_resumed() == {"1", "2"}


def test_fine_tune_onto_other_classes(runs, trained, tmp_path):
    text = runs.data.read_text()
    runs.data = tmp_path / "one_class.yaml"
    runs.data.write_text(re.sub(r"nc: .*\nnames: .*", "nc: 5\nnames: [circle, square, triangle, star, moon]", text))
    output = runs.train(weights=trained[0], cfg="")
    found = re.search(r"Transferred (\d+)/(\d+) items", output)
    assert found
    head = 6  # weight and bias of Detect's three convolutions are of another shape
    assert int(found[1]) == int(found[2]) - head


@pytest.mark.parametrize("options", [[], ["--half"], ["--augment"], ["--task", "speed"]], ids=" ".join)
def test_val(runs, trained, options):
    assert scores(runs.val(trained[0], *options))


@pytest.mark.parametrize("options", [[], ["--half"], ["--augment"], ["--visualize"], ["--save-txt"]], ids=" ".join)
def test_detect(runs, trained, options):
    if options and not has(runs.host, options[0], "detect.py"):
        pytest.skip(f"this release has no {options[0]}")
    runs.detect(trained[0], *options)
    assert list((runs.folder / "detect").iterdir())


def test_hub(runs, trained):
    script = (
        "import importlib, sys, numpy\n"
        "model = importlib.import_module(sys.argv[1]).custom(sys.argv[2])\n"
        "print(type(model).__name__, model(numpy.zeros((64, 64, 3), numpy.uint8)).xyxy[0].shape[1])"
    )
    done = runs.host.python("-c", script, f"{runs.host.prefix}hubconf", trained[0])
    assert done.stdout.splitlines()[-1:] == ["AutoShape 6"] or "autoShape 6" in done.stdout, done.stderr


def test_segmentation(runs, trained):
    if not (runs.host.root / "models" / "segment").is_dir():
        pytest.skip("this release has no segmentation")
    labels = sorted((runs.data.parent / "labels").rglob("*.txt"))
    boxes = {path: path.read_text() for path in labels}
    try:
        for path, text in boxes.items():
            path.write_text("".join(polygon(*map(float, row.split())) for row in text.splitlines()))
        runs.train(module="segment.train", cfg="yolov5-efficientvit-seg.yaml")
        weights = runs.folder / LAST
        validated = runs("segment.val", "--weights", weights, "--data", runs.data)
        assert re.search(r"^\s*all\s+4\s", validated, re.MULTILINE), "the row of all classes, on the four images"
        runs("segment.predict", "--weights", weights, "--source", runs.data.parent / "images" / "unseen")
        assert list((runs.folder / "predict").iterdir())
    finally:
        for path, text in boxes.items():
            path.write_text(text)


def polygon(kind, x, y, width, height):
    """Turn a row of a box into one of its four corners."""
    corners = [(x + dx * width / 2, y + dy * height / 2) for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return " ".join([f"{kind:.0f}", *(f"{value:.6f}" for corner in corners for value in corner)]) + "\n"


def test_classification_from_a_detector(runs, trained):
    """With `--cutoff 2`: modules 0 and 1, the backbone and SPPF, whose place the classifier takes."""
    if not has(runs.host, "--cutoff", "classify/train.py"):
        pytest.skip("this release does not classify")
    from PIL import Image

    for split in ("train", "val"):
        for number, colour in enumerate(("red", "green", "blue", "white")):
            folder = runs.folder / "colours" / split / colour
            folder.mkdir(parents=True)
            for copy in range(2):
                Image.new("RGB", (80 + 8 * copy, 80), colour).save(folder / f"{number}{copy}.png")
    settings = ["--model", trained[0], "--data", runs.folder / "colours", "--cutoff", 2, "--epochs", 1]
    settings += ["--batch-size", 4, "--workers", 0]
    output = runs("classify.train", *settings)
    assert "Training complete" in output
    weights = runs.folder / LAST
    assert weights.is_file()


def test_a_detector_of_the_copied_snippet_is_brought_over(runs, trained):
    """With the scores that it had, and every tensor taken when it is trained on."""
    script = TESTS / "paste_probe.py"
    old, new = runs.folder / "old.pt", runs.folder / "new.pt"
    runs.host.python(script, trained[0], old).check_returncode()
    runs.host.run("models.backbone", ["move-over", old, new])
    assert scores(runs.val(new, name="new")) == scores(runs.val(trained[0], name="old"))
    runs.detect(new)
    found = re.search(r"Transferred (\d+)/(\d+) items", runs.train(weights=new, cfg=""))
    assert found
    assert found[1] == found[2]
