"""Exports for other runtimes: each runtime's own result against PyTorch's.

Left out of plain `pytest`: `make test-exports` sets an environment up for each runtime, and runs this.
"""

import functools
import re
from pathlib import Path

import numpy as np
import pytest

from tests import REPOSITORY
from tests.compare_maps import largest_error
from tests.hosts.test_exports import normalising
from tests.runtimes.exported import ROUNDING, RUNTIMES, Detector, MissingRuntimeError, program, run

pytestmark = [pytest.mark.exports, pytest.mark.newest_release]

SIZES = ["256x192", "320x320"]  # pixels, height and width
EFFICIENTVIT = {
    f"EfficientViT_{name}": f"yolov5-efficientvit{suffix}.yaml"
    for name, suffix in {"M0": "", "M2": "-m2", "M5": "-m5"}.items()
}
TIMM = ["resnet18", "mobilenetv4_conv_small"]
SEGMENTATION = "segmentation, EfficientViT_M0"


@pytest.fixture(scope="module")
def detectors(patched, tmp_path_factory):
    @functools.lru_cache(maxsize=None)
    def detector(name, size):
        folder = tmp_path_factory.mktemp("detector")
        return Detector(patched, yaml_of(name, patched.root / "models", folder), size, folder)

    return detector


def yaml_of(name, models, folder):
    """Return the yaml of a detector; EfficientViT normalises images in it as published weights want."""
    if name in TIMM:
        text = (models / "yolov5-timm.yaml").read_text(encoding="utf-8")
        changed = text.replace("convnext_tiny, True", f"{name}, False")
        assert changed != text
        yaml = Path(folder, "yolov5-timm.yaml")
        yaml.write_text(changed, encoding="utf-8")
        return yaml
    where = models / "segment" / "yolov5-efficientvit-seg.yaml" if name == SEGMENTATION else models / EFFICIENTVIT[name]
    return normalising(where, folder)


def check(detector, runtime, bound=ROUNDING):
    try:
        assert max(detector.errors(runtime)) < max(bound, runtime.bound)
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", EFFICIENTVIT)
def test_efficientvit(detectors, name, size, runtime):
    check(detectors(name, size), RUNTIMES[runtime])


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", TIMM)
def test_timm(detectors, name, runtime):
    check(detectors(name, SIZES[0]), RUNTIMES[runtime], 1e-3)  # random weights of MobileNetV4 amplify rounding


@pytest.mark.parametrize("runtime", ["ONNX Runtime", "OpenVINO", "NCNN"])
def test_segmentation(detectors, runtime):
    check(detectors(SEGMENTATION, SIZES[0]), RUNTIMES[runtime])


WITHOUT_EXPORT = ["In Python, with PyTorch"]  # test_elsewhere.py and test_sahi.py run its examples
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
EXAMPLES = {
    title: code[-1]
    for title, text in SECTION.findall((REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8"))
    if (code := re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)) and title not in WITHOUT_EXPORT
}


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_of_the_documentation(detectors, title):
    detector, runtime = detectors("EfficientViT_M0", SIZES[0]), RUNTIMES[{"OpenCV": "OpenCV 5"}.get(title, title)]
    try:
        python, model = program(runtime.environment), detector.made(runtime.made_by)
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    code = EXAMPLES[title].replace("best", model.name.partition(".")[0].replace("_paddle_model", ""))
    load = "import numpy as np\nimage = np.load('image.npy')\n" + ("import cv2\n" if title == "OpenCV" else "")
    run(python, "-c", f"{load}{code}\nnp.save('example.npy', prediction)\n", cwd=detector.folder)
    found, expected = (np.load(detector.folder / name) for name in ("example.npy", "result.npy"))
    assert largest_error([found], [expected], scale=256) < 1e-2  # NCNN computes in half precision here
