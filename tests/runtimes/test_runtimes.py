"""Exports for other runtimes: each runtime's own result against PyTorch's.

Left out of plain `pytest`: `make test-exports` sets an environment up for each runtime, and runs this.
"""

import functools
from pathlib import Path

import pytest

from tests.hosts.test_exports import normalising
from tests.runtimes.exported import RUNTIMES, Detector, MissingRuntimeError

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


def check(detector, runtime):
    try:
        assert max(detector.errors(runtime)) < runtime.bound
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
    check(detectors(name, SIZES[0]), RUNTIMES[runtime])


@pytest.mark.parametrize("runtime", ["ONNX Runtime", "OpenVINO", "NCNN"])
def test_segmentation(detectors, runtime):
    check(detectors(SEGMENTATION, SIZES[0]), RUNTIMES[runtime])
