"""A trained detector loaded from Python, beside other models, in another layout of YOLOv5, and where the patch is missing.

What YOLOv5's own detect.py finds with it in the pip package is what it has to find everywhere.
"""

import functools
import re
import shutil

import numpy as np
import pytest

import apply_patch
from tests import REPOSITORY, TESTS
from tests.compare_maps import assert_same
from tests.conftest import host
from tests.warm_python import run_python

SECTION = "In Python, with PyTorch"
PAGE = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
(TEXT,) = re.findall(rf"^## {SECTION}\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
FIRST, *EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
OURS = "yolov5-efficientvit.yaml"
SIZE, CONFIDENCE = 320, 0.5  # as in elsewhere_probe.py


def clone_of(package, folder):
    """Return a copy of the pip package in the layout of a clone: its files import each other without its name."""
    root = folder / "yolov5"
    shutil.copytree(package.root, root, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "__init__.py").unlink()
    for path in root.rglob("*.py"):
        text = path.read_bytes().decode("utf-8")
        path.write_bytes(re.sub(r"\b(from|import) yolov5\.", r"\1 ", text).encode("utf-8"))
    return host(root)


class Elsewhere:
    """The pip package, and the same release as a clone, each patched and not; detectors that they have trained."""

    def __init__(self, stock, patched, folder):
        self.folder, self.package, self.stock_package = folder, patched, stock
        self.photo = folder / "photo.jpg"
        shutil.copyfile(patched.root / "data" / "images" / "bus.jpg", self.photo)
        self.of_package = self.saved(patched, OURS, "package.pt")
        self.expected = self.detected(patched, self.of_package)

    @functools.cached_property
    def stock_clone(self):
        return clone_of(self.stock_package, self.folder / "stock")

    @functools.cached_property
    def clone(self):
        clone = clone_of(self.stock_package, self.folder / "patched")
        assert apply_patch.main([str(clone.root)]) == 0
        return clone

    @functools.cached_property
    def of_clone(self):
        return self.saved(self.clone, OURS, "clone.pt")

    @functools.cached_property
    def of_stock(self):
        return self.saved(self.stock_package, "yolov5s.yaml", "stock.pt")

    def saved(self, where, yaml, name):
        path = self.folder / name
        self.probe(where, "save", self.photo, where.root / "models" / yaml, path)
        return path

    def python(self, where, *arguments, cwd=None, **variables):
        """Run Python as a user does, in a folder of his own, with the checkout found as an installed one is."""
        environment = {**where.environment, "PYTHONPATH": str(where.import_path), **variables}
        return run_python(arguments, cwd or self.folder, environment)

    def probe(self, where, *arguments, **variables):
        """Run elsewhere_probe.py, which must succeed."""
        done = self.python(where, TESTS / "elsewhere_probe.py", where.prefix, *arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr

    def result(self, where, way, *arguments, **variables):
        """Return what a way of loading, a function of elsewhere_probe.py, has written."""
        path = self.folder / ("result.npz" if way == "raw" else "result.npy")
        path.unlink(missing_ok=True)
        self.probe(where, way, path, *arguments, **variables)
        return np.load(path)

    def detect(self, where, *weights, **variables):
        """Run detect.py."""
        script = ["-m", f"{where.prefix}detect"] if where.prefix else [where.root / "detect.py"]
        options = ["--source", self.photo, "--img-size", SIZE, "--conf-thres", CONFIDENCE, "--save-txt", "--save-conf"]
        options += ["--project", self.folder / "runs", "--name", "detect", "--device", "cpu"]
        return self.python(where, *script, "--weights", *weights, *options, cwd=where.import_path, **variables)

    def detected(self, where, *weights, **variables):
        """Return the boxes that detect.py finds, as AutoShape gives them."""
        shutil.rmtree(self.folder / "runs", ignore_errors=True)
        done = self.detect(where, *weights, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        (path,) = (self.folder / "runs").rglob("photo.txt")
        number, x, y, width, height, confidence = np.loadtxt(path, ndmin=2).T
        sides = [(x - width / 2) * 810, (y - height / 2) * 1080, (x + width / 2) * 810, (y + height / 2) * 1080]
        return in_order(np.stack([*sides, confidence, number], 1))


def in_order(boxes):
    return boxes[np.argsort(-boxes[:, 4], kind="stable")]


def assert_same_boxes(found, expected):
    """Raise an AssertionError unless boxes are the same; detect.py rounds their sides to pixels."""
    found = in_order(found)
    assert len(expected) > 20
    assert found.shape == expected.shape
    assert abs(found[:, :4] - expected[:, :4]).max() < 0.51
    assert abs(found[:, 4] - expected[:, 4]).max() < 1e-4
    assert (found[:, 5] == expected[:, 5]).all()


@pytest.fixture(scope="session")
def elsewhere(stock, patched, tmp_path_factory):
    if not patched.is_package:
        pytest.skip("a clone is made from the pip package, and not the other way round")
    return Elsewhere(stock, patched, tmp_path_factory.mktemp("elsewhere"))


def test_torch_hub(elsewhere):
    found = elsewhere.result(elsewhere.clone, "hub", elsewhere.photo, elsewhere.clone.root, elsewhere.of_clone)
    assert len(found) == 6
    for boxes in found:
        assert_same_boxes(boxes, elsewhere.expected)


def test_the_pip_package(elsewhere):
    """It loads its own checkpoints, and those of a clone."""
    weights = [elsewhere.of_package, elsewhere.of_clone]
    found = elsewhere.result(elsewhere.package, "package", elsewhere.photo, *weights)
    assert len(found) == 12
    for boxes in found:
        assert_same_boxes(boxes, elsewhere.expected)


def test_a_checkpoint_of_the_pip_package_in_a_clone(elsewhere):
    """It names modules of `yolov5`, which the folder above a clone offers if the clone is called so."""
    assert elsewhere.clone.root.name == "yolov5"
    found = elsewhere.detected(elsewhere.clone, elsewhere.of_package, PYTHONPATH="..")
    assert_same_boxes(found, elsewhere.expected)


@pytest.mark.newest_release
def test_a_checkpoint_of_a_clone_in_detect_of_the_pip_package(elsewhere):
    assert_same_boxes(elsewhere.detected(elsewhere.package, elsewhere.of_clone), elsewhere.expected)


@pytest.mark.newest_release
def test_an_ensemble_gives_what_each_model_gives_by_itself(elsewhere):
    ours, theirs = str(elsewhere.of_package), str(elsewhere.of_stock)
    expected = elsewhere.result(elsewhere.stock_package, "raw", theirs)["arr_0"]
    ensembles = [ours, f"{ours},{theirs}", f"{theirs},{ours}"]
    alone, first, last = elsewhere.result(elsewhere.package, "raw", *ensembles).values()
    assert_same(first, np.concatenate([alone, expected], 1))
    assert_same(last, np.concatenate([expected, alone], 1))


@pytest.mark.newest_release
def test_an_ensemble_in_detect(elsewhere):
    weights = [elsewhere.of_package, elsewhere.of_stock]
    found = elsewhere.detected(elsewhere.package, *weights)
    expected = elsewhere.result(elsewhere.package, "together", elsewhere.photo, ",".join(map(str, weights)))
    assert_same_boxes(expected, found)
    assert len(found) > len(elsewhere.expected)


@pytest.mark.newest_release
@pytest.mark.parametrize(
    ("where", "weights", "missing"),
    [
        ("stock_clone", "of_clone", "models.backbone"),
        ("stock_package", "of_package", "yolov5.models.backbone"),
        ("clone", "of_package", "yolov5"),
    ],
)
def test_where_the_code_is_missing(elsewhere, where, weights, missing):
    done = elsewhere.detect(getattr(elsewhere, where), getattr(elsewhere, weights))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: No module named '{missing}'"


@pytest.mark.newest_release
def test_what_torch_hub_says_where_the_patch_is_missing(elsewhere):
    script = "import sys, torch; torch.hub.load(sys.argv[1], 'custom', sys.argv[2], source='local')"
    where = elsewhere.stock_clone
    done = elsewhere.python(where, "-c", script, where.root, elsewhere.of_clone)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Exception: No module named 'models.backbone'. Cache may be out of date, ")


@pytest.mark.newest_release
@pytest.mark.parametrize("code", [code for code in EXAMPLES if "sahi" not in code])
def test_the_example_of_the_documentation(elsewhere, code, tmp_path):
    """It leaves the boxes of a photograph in `boxes`, without a variable set outside."""
    is_hub = "torch.hub" in code
    where, weights = (elsewhere.clone, "of_clone") if is_hub else (elsewhere.package, "of_package")
    shutil.copyfile(getattr(elsewhere, weights), tmp_path / "best.pt")
    shutil.copyfile(elsewhere.photo, tmp_path / "photo.jpg")
    changed = code.replace("path/to/yolov5", str(where.root)).replace("size=640", f"size={SIZE}")
    # what is taken for a clone here is of the pip package, and asks Hugging Face for a bare name
    changed = changed.replace('"best.pt"', repr(str(tmp_path / "best.pt")))
    changed = changed.replace("\nresults = ", f"\nmodel.conf = {CONFIDENCE}\nresults = ")
    environment = {"PYTHONPATH": "" if is_hub else str(where.import_path), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": ""}
    script = f"{FIRST}{changed}\nimport numpy\nnumpy.save('boxes.npy', boxes.numpy())\n"
    done = elsewhere.python(where, "-c", script, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_boxes(np.load(tmp_path / "boxes.npy"), elsewhere.expected)
