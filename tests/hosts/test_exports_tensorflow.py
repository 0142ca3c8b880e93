"""The exports to TensorFlow formats, by the host's own export.py, against PyTorch.

Left out of plain `pytest`: `make test-exports` runs it on the newest release.
"""

import json
import re
import subprocess
import sys

import pytest

from tests import TESTS
from tests.hosts.test_exports import normalising

pytestmark = pytest.mark.exports

PROBE = TESTS / "tensorflow_probe.py"
SIZE = "256x192"  # pixels, height and width; that of bus.jpg times 0.237, so that no format pads it
FORMATS = {"_saved_model": "saved_model", ".pb": "pb", "-fp16.tflite": "tflite"}
# Float32 formats differ by the order of their sums, which random weights amplify. TFLite's weights are rounded to half
# precision, as PyTorch's are then; of its boxes, so is 1 / 192, by 0.023 %.
BOUNDS = {"_saved_model": (2e-5, 3e-5), ".pb": (2e-5, 3e-5), "-fp16.tflite": (5e-4, 5e-5)}  # of boxes, of the rest


def probe(*arguments, host=None):
    where = {"cwd": host.import_path, "env": host.environment} if host else {}
    done = subprocess.run([sys.executable, str(PROBE), *map(str, arguments)], capture_output=True, text=True, **where)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def features():
    return probe("features")


@pytest.mark.parametrize(
    "case",
    [f"EfficientViT_{name}, {size}" for name in ("M0, stem 8", "M0, stem 16", "M3, stem 8", "M5, stem 8") for size in ((224, 448), (192, 320), (32, 64))]
    + ["fused", "open batch"],
)  # fmt: skip
def test_keras_features_are_those_of_pytorch(features, case):
    assert features[case] < 3e-6  # float32 rounding; fusing alone costs as much


class Exported:
    """A detector as train.py saves it, and its exports beside it."""

    def __init__(self, host, yaml, folder, size=SIZE):
        self.host, self.size, self.weights = host, size, folder / "detector.pt"
        self.photograph = host.root / "data" / "images" / "bus.jpg"
        yaml = normalising(host.root / "models" / yaml, folder)
        probe("build", host.prefix, self.photograph, size, yaml, self.weights, host=host)

    def export(self, *options):
        return self.host.run(
            "export", ["--weights", self.weights, "--img-size", *self.size.split("x"), "--device", "cpu", *options]
        )

    def file(self, suffix):
        return self.weights.with_name(f"detector{suffix}")

    def compare(self, *suffixes):
        files = [self.file(suffix) for suffix in suffixes]
        return probe("compare", self.host.prefix, self.photograph, self.size, self.weights, *files, host=self.host)


SURE = 0.99  # a score that every format is to find; random weights find a great many boxes


def has(host, text, name):
    path = host.root / name
    return path.is_file() and text in path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def detector(patched, tmp_path_factory):
    if not (patched.root / "models" / "tf.py").is_file():
        pytest.skip("this release exports to no format of TensorFlow")
    detector = Exported(patched, "yolov5-efficientvit.yaml", tmp_path_factory.mktemp("detector"))
    formats = list(FORMATS.values())
    if has(patched, "save_format='tf')\n    return", "export.py"):
        formats.remove("saved_model")  # v6.0 hands Keras an argument that Keras 3 refuses, for its own models too
    detector.output = detector.export("--include", *formats)
    return detector


@pytest.fixture(scope="session")
def compared(detector):
    if not has(detector.host, "class DetectMultiBackend", "models/common.py"):
        pytest.skip("v6.0 has no DetectMultiBackend")
    return detector.compare(*FORMATS)


@pytest.mark.parametrize("suffix", FORMATS)
def test_boxes_and_scores_are_those_of_pytorch(compared, suffix):
    errors = compared[f"detector{suffix}"]
    assert sorted(errors) == ["boxes", "scores"]
    assert_equal(errors, suffix)


@pytest.mark.newest_release
@pytest.mark.parametrize("size", [SIZE, "320x320"])
@pytest.mark.parametrize("variant", ["m2", "m5"])
def test_larger_variants(patched, tmp_path, variant, size):
    model = Exported(patched, f"yolov5-efficientvit-{variant}.yaml", tmp_path, size)
    model.export("--include", *FORMATS.values())
    for suffix, errors in zip(FORMATS, model.compare(*FORMATS).values()):
        assert_equal(errors, suffix, times=10)  # more blocks of random weights amplify rounding more


def assert_equal(errors, suffix, times=1):
    of_boxes, of_the_rest = BOUNDS[suffix]
    assert errors.pop("boxes") < times * of_boxes
    assert max(errors.values()) < times * of_the_rest


def test_the_layer_table_is_that_of_the_detector(detector):
    rows = re.findall(r"^ *(\d+) +(?:-1|\[[-\d, ]+\]) +\d+ +(\d+)  (?:\w+\.)+(\w+)", detector.output, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(4, 21))
    assert rows[0][2] == "EfficientViT_M0"


@pytest.fixture(scope="session")
def found(detector, tmp_path_factory):
    """Runs detect.py; returns the boxes on a photograph: class, x, y, width, height, confidence."""
    folder = tmp_path_factory.mktemp("detect")

    def detect(suffix):
        options = ["--weights", detector.file(suffix), "--source", detector.photograph, "--img-size", *SIZE.split("x")]
        options += ["--device", "cpu", "--save-txt", "--save-conf", "--project", folder, "--name", suffix.strip("._-")]
        detector.host.run("detect", [*options, "--conf-thres", SURE - 0.02])
        lines = (folder / suffix.strip("._-") / "labels" / "bus.txt").read_text().splitlines()
        return [tuple(map(float, line.split())) for line in lines]

    return detect


@pytest.fixture(scope="session")
def found_by_pytorch(found):
    boxes = found(".pt")
    assert sum(box[5] >= SURE for box in boxes) > 5
    return boxes


@pytest.mark.parametrize("suffix", FORMATS)
def test_detect_finds_the_same_boxes(detector, found, found_by_pytorch, suffix):
    if not detector.file(suffix).exists():
        pytest.skip("v6.0 cannot write a SavedModel with Keras 3")
    boxes = found(suffix)
    # detect.py rounds corners to whole pixels of the photograph; weights of half precision move boxes and scores more
    place, score = (0.01, 0.02) if "fp16" in suffix else (1.1 / 810, 1e-4)
    for ours, others in ((boxes, found_by_pytorch), (found_by_pytorch, boxes)):
        for box in ours:
            assert box[5] < SURE or any(same(box, other, place, score) for other in others), box


def same(box, other, place, score):
    near = all(abs(a - b) <= place for a, b in zip(box[1:5], other[1:5]))
    return box[0] == other[0] and near and abs(box[5] - other[5]) <= score


def test_segmentation(patched, tmp_path):
    if not (patched.root / "segment").is_dir():
        pytest.skip("no segmentation before v7.0")
    model = Exported(patched, "segment/yolov5-efficientvit-seg.yaml", tmp_path)
    suffixes = list(FORMATS)
    if not has(patched, "y = list(reversed(y))", "models/common.py"):
        suffixes.remove("-fp16.tflite")  # v7.0 takes masks for boxes there, of its own models too
    model.export("--include", *(FORMATS[suffix] for suffix in suffixes))
    compared = model.compare(*suffixes)
    for suffix in suffixes:
        errors = compared[f"detector{suffix}"]
        assert sorted(errors) == ["boxes", "coefficients", "masks", "scores"]
        assert_equal(errors, suffix)


def test_timm_backbones_are_refused_by_name(patched, tmp_path):
    if not (patched.root / "models" / "tf.py").is_file():
        pytest.skip("this release exports to no format of TensorFlow")
    text = (patched.root / "models" / "yolov5-timm.yaml").read_text()
    yaml = patched.root / "models" / "small-timm.yaml"
    yaml.write_text(re.sub(r"TimmBackbone, \[\w+, True", "TimmBackbone, [mobilenetv3_small_050, False", text))
    output = Exported(patched, yaml.name, tmp_path).export("--include", "saved_model")
    assert "yaml row 0: TimmBackbone cannot be exported to TensorFlow formats" in output
