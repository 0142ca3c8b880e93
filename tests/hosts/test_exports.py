"""The host's export.py: each format is made from a detector with EfficientViT, loaded back, and compared with PyTorch.

Left out of plain `pytest`: `make test-exports` runs it on the newest release. TensorFlow's formats are in
test_exports_tensorflow.py.
"""

import json
import re
import subprocess
import sys

import pytest

from demo.dataset import write_dataset
from tests import TESTS

pytestmark = pytest.mark.exports

SIZE = "256x192"  # pixels, height and width
# Ten of them: of no map, of some maps, and of all maps a multiple of the window; below one window; several images.
SIZES = [
    *(SIZE, "224x224", "448x448", "448x672x2", "640x640", "320x224", "32x32", "64x32x3", "96x544x2", "352x288x4"),
]
ROW = re.compile(r"(EfficientViT_M\d), \[\]")
IMAGENET = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
ROUNDING = 1e-5  # of the image's longer side, and of a score: sums in another order


def normalising(yaml, folder):
    """Return a copy of one of our yamls; EfficientViT normalises images in it as ImageNet's weights want them."""
    text = yaml.read_text(encoding="utf-8")
    changed = ROW.sub(rf"\1, [{{normalize: {IMAGENET}}}]", text)
    assert changed != text or "timm" in yaml.name
    copy = folder / yaml.name
    copy.write_text(changed, encoding="utf-8")
    return copy


class Exports:
    """Makes and compares exports of one detector."""

    def __init__(self, host, folder, yaml="yolov5-efficientvit.yaml"):
        self.host, self.folder, self.weights = host, folder, folder / "detector.pt"
        yaml = normalising(host.root / "models" / yaml, folder)
        self.python("save_detector.py", host.prefix, yaml, self.weights)

    def python(self, script, *arguments):
        command = [sys.executable, str(TESTS / script), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.host.import_path, env=self.host.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def make(self, *options, size=SIZE):
        settings = ["--weights", self.weights, "--img-size", *size.split("x"), "--device", "cpu"]
        output = self.host.run("export", [*settings, *options])
        assert "export success" in output

    def errors(self, suffix, sizes=(SIZE,)):
        """Return, over all sizes, the largest error of a box's sides and of a score."""
        image, result = self.host.root / "data" / "images" / "bus.jpg", self.folder / "errors.json"
        exported = self.folder / f"detector{suffix}"
        self.python("export_probe.py", self.host.prefix, self.weights, exported, image, result, *sizes)
        seen = json.loads(result.read_text())
        assert list(seen) == list(sizes)
        return max(one["boxes"] for one in seen.values()), max(one["scores"] for one in seen.values())

    def detects(self, suffix):
        """Run the host's detect.py on an export."""
        settings = ["--weights", self.folder / f"detector{suffix}", "--img-size", *SIZE.split("x"), "--device", "cpu"]
        settings += ["--source", self.host.root / "data" / "images" / "bus.jpg", "--conf-thres", 0.01]
        self.host.run("detect", [*settings, "--project", self.folder, "--name", "detect", "--exist-ok"])
        assert (self.folder / "detect" / "bus.jpg").is_file()

    def says(self, text):
        return text in (self.host.root / "export.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def exports(patched, tmp_path_factory):
    return Exports(patched, tmp_path_factory.mktemp("exports"))


def test_torchscript(exports):
    """Without `--optimize`, which wants a torch built with XNNPACK."""
    exports.make("--include", "torchscript")
    assert max(exports.errors(".torchscript")) < ROUNDING
    exports.detects(".torchscript")


@pytest.mark.newest_release
@pytest.mark.parametrize("size", [SIZE, "320x320"])
@pytest.mark.parametrize("variant", ["m2", "m5"])
def test_larger_variants(patched, tmp_path, variant, size):
    """In what YOLOv5 itself runs; tests/runtimes has the other runtimes, and ONNX."""
    exports = Exports(patched, tmp_path, f"yolov5-efficientvit-{variant}.yaml")
    exports.make("--include", "torchscript", size=size)
    assert max(exports.errors(".torchscript", [size])) < ROUNDING
    exports.make("--include", "onnx", "--dynamic", size=size)
    assert max(exports.errors(".onnx", ["224x448", size])) < ROUNDING
    if exports.says(".mlpackage"):
        exports.make("--include", "coreml", size=size)
        assert (tmp_path / "detector.mlpackage").is_dir()


@pytest.mark.parametrize("options", [[], ["--simplify"]], ids=["", "simplify"])
def test_onnx(exports, options):
    if options and not exports.says("onnxslim"):
        pytest.skip("this release simplifies by a package that today's onnx does not go with")
    exports.make("--include", "onnx", *options)
    assert max(exports.errors(".onnx")) < ROUNDING
    exports.detects(".onnx")


@pytest.mark.parametrize("options", [[], ["--simplify"]], ids=["", "simplify"])
def test_dynamic_onnx_serves_every_size(exports, options):
    if options and not exports.says("onnxslim"):
        pytest.skip("this release simplifies by a package that today's onnx does not go with")
    # of two images, because from one torch's newer exporter, by which 7.0.14 exports, may conclude that there is only one
    exports.make("--include", "onnx", "--dynamic", "--batch-size", 2, *options)
    assert max(exports.errors(".onnx", SIZES)) < ROUNDING


def test_dynamic_onnx_from_a_map_of_one_window(exports):
    """Of 224 px the last map is one window, from which the exporter must not conclude that there is never another."""
    exports.make("--include", "onnx", "--dynamic", size="224x224")
    assert max(exports.errors(".onnx", ["192x256", "320x320", "224x224"])) < ROUNDING


def test_openvino(exports):
    if exports.says("openvino.inference_engine"):
        pytest.skip("this release exports by a part of OpenVINO that left it in 2024.0")
    exports.make("--include", "openvino")
    assert max(exports.errors("_openvino_model")) < 1e-3  # OpenVINO may compute in lower precision
    exports.detects("_openvino_model")


def test_openvino_int8(exports, tmp_path):
    if exports.says("openvino.inference_engine"):
        pytest.skip("this release exports by a part of OpenVINO that left it in 2024.0")
    data = write_dataset(tmp_path / "shapes", 192, {"train": 8, "val": 4})
    size = "640x640"  # at which YOLOv5 calibrates, whatever --img-size says
    exports.make("--include", "openvino", "--int8", "--data", data, size=size)
    boxes, scores = exports.errors("_int8_openvino_model", [size])
    assert boxes < 0.1
    assert scores < 0.1


def test_coreml(exports):
    """Conversion alone: models of CoreML run on macOS."""
    if not exports.says(".mlpackage"):
        pytest.skip("this release names its file as coremltools of its time did, which today's refuses")
    exports.make("--include", "coreml")
    assert (exports.folder / "detector.mlpackage").is_dir()
