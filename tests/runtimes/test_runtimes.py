"""Exports for other runtimes: each runtime's own result against PyTorch's.

Left out of plain `pytest`: `make test-exports` sets an environment up for each runtime, and runs this.
"""

import functools
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests import REPOSITORY
from tests.compare_maps import largest_error
from tests.hosts.test_exports import normalising
from tests.runtimes.exported import ROUNDING, RUNTIMES, Detector, MissingRuntimeError, program, run
from tests.runtimes.native import built

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


SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall((REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")))


def fences(language):
    """Return the code in a language of each section that has any; the last, if it has several."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return {title: found[-1] for title, text in SECTIONS.items() if (found := fence.findall(text))}


EXAMPLES, CPP, CMAKE = map(fences, ["python", "cpp", "cmake"])


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


@pytest.mark.parametrize("title", CPP)
def test_the_cpp_example_of_the_documentation(detectors, patched, title, tmp_path):
    detector, runtime = detectors("EfficientViT_M0", SIZES[0]), RUNTIMES[{"OpenCV": "OpenCV 5"}.get(title, title)]
    code = CPP[title].replace('"best.', '"detector.').replace("(640, 640)", "(192, 256)").replace("> 0.25f", ">= 0")
    assert [code.count(text) for text in ('"detector.', "(192, 256)", ">= 0")] == [1 + (title == "NCNN"), 1, 1]
    try:
        example, version = built(tmp_path / "example", code, CMAKE[title])
        detector.made(runtime.made_by)
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    shutil.copy(patched.root / "data" / "images" / "bus.jpg", detector.folder / "photo.jpg")
    if title == "OpenCV" and version < (4, 8):
        done = subprocess.run([example], cwd=detector.folder, capture_output=True, text=True)
        assert " parse error: " in done.stderr
        pytest.skip(
            f"OpenCV {version[0]}.{version[1]} compiled it, but runs it from 4.8 on: name one in CMAKE_PREFIX_PATH"
        )
    lines = run(example, cwd=detector.folder, only_stdout=True).splitlines()
    found = np.array([line.split() for line in lines], np.float32)[None]
    expected = np.load(detector.folder / "result.npy")
    scores = expected[..., 4:5] * expected[..., 5:]
    assert largest_error([found[..., 2:]], [expected[..., :4]], scale=256) < 1e-2  # as of the Python examples
    assert largest_error([found[..., 1]], [scores.max(-1)]) < 1e-2
    named = np.take_along_axis(scores, found[..., :1].astype(int), -1)  # two may be equal but for rounding
    assert largest_error([named[..., 0]], [scores.max(-1)]) < 1e-2
