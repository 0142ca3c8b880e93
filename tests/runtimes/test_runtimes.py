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
from tests.runtimes.exported import ROUNDING, RUNTIMES, SIMULATORS, Detector, MissingRuntimeError, program, run
from tests.runtimes.native import built

pytestmark = [pytest.mark.exports, pytest.mark.newest_release]

SIZES = ["256x192", "320x320"]  # pixels, height and width
EFFICIENTVIT = {
    f"EfficientViT_{name}": f"yolov5-efficientvit{suffix}.yaml"
    for name, suffix in {"M0": "", "M2": "-m2", "M5": "-m5"}.items()
}
TIMM = ["resnet18", "mobilenetv4_conv_small"]
TESTED = {**RUNTIMES, **SIMULATORS}
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


@pytest.mark.parametrize("runtime", TESTED)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", EFFICIENTVIT)
def test_efficientvit(detectors, name, size, runtime):
    check(detectors(name, size), TESTED[runtime])


@pytest.mark.parametrize("runtime", TESTED)
@pytest.mark.parametrize("name", TIMM)
def test_timm(detectors, name, runtime):
    check(detectors(name, SIZES[0]), TESTED[runtime], 1e-3)  # random weights of MobileNetV4 amplify rounding


@pytest.mark.parametrize("runtime", ["ONNX Runtime", "OpenVINO", "NCNN"])
def test_segmentation(detectors, runtime):
    check(detectors(SEGMENTATION, SIZES[0]), RUNTIMES[runtime])


WITHOUT_EXPORT = ["In Python, with PyTorch"]  # test_elsewhere.py and test_sahi.py run its examples
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall((REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")))
for title in WITHOUT_EXPORT:
    del SECTIONS[title]


def fences(language):
    """Return the code in a language of each section that has any; the last, if it has several."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return {title: found[-1] for title, text in SECTIONS.items() if (found := fence.findall(text))}


EXAMPLES, CPP, CMAKE = map(fences, ["python", "cpp", "cmake"])


def runtime_of(title):
    """Return the runtime that a section of the documentation is about."""
    return TESTED[{"OpenCV": "OpenCV 5", "RKNN (Rockchip)": "RKNN"}.get(title, title)]


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_of_the_documentation(detectors, title):
    detector, runtime = detectors("EfficientViT_M0", SIZES[0]), runtime_of(title)
    try:
        python, model = program(runtime.environment), detector.made(runtime.made_by)
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    code = EXAMPLES[title].replace("best", model.name.partition(".")[0].replace("_paddle_model", ""))
    load = "import numpy as np\nimage = np.load('image.npy')\n" + ("import cv2\n" if title == "OpenCV" else "")
    run(python, "-c", f"{load}{code}\nnp.save('example.npy', prediction)\n", cwd=detector.folder)
    found, expected = (np.load(detector.folder / name) for name in ("example.npy", "result.npy"))
    assert (
        largest_error([found[..., :4]], [expected[..., :4]], scale=256) < 1e-2
    )  # NCNN computes in half precision here
    assert largest_error([found[..., 4:]], [expected[..., 4:]]) < 1e-2


OF_ANOTHER_SIZE = {  # what each says to an image of another size than it was exported for
    "ONNX Runtime": "Got invalid dimensions for input",
    "OpenVINO": "The input tensor size is not equal to the model input type",
    "MNN": "IndexError: list index out of range",
    "OpenCV 4.10": "in function 'computeShapeByReshapeMask'",
    "OpenCV 5": "in function 'getOutShape'",
    "Paddle": "Broadcast dimension mismatch",
    "ExecuTorch": "method->set_inputs() for method 'forward' failed with error 0x10",
}


@pytest.mark.parametrize("runtime", OF_ANOTHER_SIZE)
def test_an_image_of_another_size(detectors, tmp_path, runtime):
    detector = detectors("EfficientViT_M0", SIZES[0])
    np.save(tmp_path / "image.npy", np.zeros((1, 3, 320, 320), np.float32))
    try:
        python = program(RUNTIMES[runtime].environment)
        model = detector.made(RUNTIMES[runtime].made_by)
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    command = [python, REPOSITORY / "tests" / "runtimes" / "run_model.py", RUNTIMES[runtime].function, model]
    done = subprocess.run([*command, tmp_path / "image.npy", tmp_path / "a.npy"], capture_output=True, text=True)
    assert done.returncode != 0
    assert OF_ANOTHER_SIZE[runtime] in done.stderr
    assert OF_ANOTHER_SIZE[runtime] in SECTIONS["When a file does not run"]


def test_ncnn_takes_an_image_of_another_size_without_a_word(detectors, tmp_path):
    detector = detectors("EfficientViT_M0", SIZES[0])
    np.save(tmp_path / "image.npy", np.zeros((1, 3, 320, 320), np.float32))
    try:
        python, model = program("ncnn"), detector.made("pnnx")
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    script = REPOSITORY / "tests" / "runtimes" / "run_model.py"
    run(python, script, "ncnn", model, tmp_path / "image.npy", tmp_path / "found.npy")
    assert np.load(tmp_path / "found.npy").shape == np.load(detector.folder / "result.npy").shape


def test_export_rknn_says_how_far_its_simulator_is_from_onnx_runtime(detectors, patched, tmp_path):
    detector, script = detectors("EfficientViT_M0", SIZES[0]), REPOSITORY / "examples" / "export_rknn.py"
    try:
        python = program("rknn")
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    photo, converted = patched.root / "data" / "images" / "bus.jpg", tmp_path / "best.rknn"
    model = detector.made("onnx")
    said = run(python, script, model, "rk3588", converted, photo, cwd=tmp_path)
    boxes, scores = map(float, re.search(r"by up to ([\d.]+) px, scores by up to ([\d.]+)", said).groups())
    assert 0 < boxes < 0.5  # half precision moves them by 0.29 px
    assert 0 < scores < 1e-3
    assert converted.stat().st_size > 2**20
    done = subprocess.run([python, script, model, "rk3588", converted, "nothing.jpg"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "nothing.jpg is not there or no image" in done.stderr


EXACT = "".join(f"network.opt.use_fp16_{what} = false;" for what in ("packed", "storage", "arithmetic"))


@pytest.mark.parametrize("title", CPP)
def test_the_cpp_example_of_the_documentation(detectors, patched, title, tmp_path):
    detector, runtime = detectors("EfficientViT_M0", SIZES[0]), runtime_of(title)
    code = CPP[title].replace('"best.', '"detector.').replace("(640, 640)", "(192, 256)").replace("> 0.25f", ">= 0")
    code = code.replace("ncnn::Net network;", f"ncnn::Net network; {EXACT}")
    assert [code.count(text) for text in ('"detector.', "(192, 256)", ">= 0")] == [1 + (title == "NCNN"), 1, 1]
    try:
        example, version = built(tmp_path / "example", code, CMAKE[title])
        detector.made(runtime.made_by)
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    shutil.copy(patched.root / "data" / "images" / "bus.jpg", detector.folder / "photo.jpg")
    if title == "OpenCV" and version < (4, 8):
        done = subprocess.run([example], cwd=detector.folder, capture_output=True, text=True)
        assert "parse error" in done.stderr
        pytest.skip(
            f"OpenCV {version[0]}.{version[1]} compiled it, but runs it from 4.8 on: name one in CMAKE_PREFIX_PATH"
        )
    lines = run(example, cwd=detector.folder, only_stdout=True).splitlines()
    found = np.array([line.split() for line in lines], np.float32)[None]
    expected = np.load(detector.folder / "result.npy")
    scores = expected[..., 4:5] * expected[..., 5:]
    bound = 3e-3 if title == "OpenCV" and version < (4, 10) else ROUNDING  # of red for blue, a box moves by 6e-4
    assert largest_error([found[..., 2:]], [expected[..., :4]], scale=256) < bound
    assert largest_error([found[..., 1]], [scores.max(-1)]) < 10 * bound
    named = np.take_along_axis(scores, found[..., :1].astype(int), -1)  # two may be equal but for rounding
    assert largest_error([named[..., 0]], [scores.max(-1)]) < 10 * bound
