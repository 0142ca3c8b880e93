"""The model yamls differ in what their variants do, and nowhere else."""

import pytest
import yaml

from tests import REPOSITORY

MODELS = REPOSITORY / "models"
NAMES = ["yolov5-efficientvit", *(f"yolov5-efficientvit-m{k}" for k in range(1, 6))]
# the yamls for any model of timm, and the strides of their levels
TIMM_LEVELS = {
    "yolov5-timm": [8, 16, 32],
    "yolov5-timm-p2": [4, 8, 16, 32],
    "yolov5-timm-p6": [8, 16, 32, 64],
}

DESIGN = [
    [-1, 1, "EfficientViT_M0", []],
    [-1, 1, "SPPF", [1024, 5]],
    [-1, 1, "Conv", [512, 1, 1]],
    [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
    [[-1, 3], 1, "Concat", [1]],
    [-1, 3, "C3", [512, False]],
    [-1, 1, "Conv", [256, 1, 1]],
    [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
    [[-1, 2], 1, "Concat", [1]],
    [-1, 3, "C3", [256, False]],
    [-1, 1, "Conv", [256, 3, 2]],
    [[-1, 10], 1, "Concat", [1]],
    [-1, 3, "C3", [512, False]],
    [-1, 1, "Conv", [512, 3, 2]],
    [[-1, 5], 1, "Concat", [1]],
    [-1, 3, "C3", [1024, False]],
    [[13, 16, 19], 1, "Detect", ["nc", "anchors"]],
]


def load(name):
    return yaml.safe_load((MODELS / f"{name}.yaml").read_text())


def test_every_yaml_is_known():
    assert sorted(path.stem for path in MODELS.glob("*.yaml")) == sorted([*NAMES, *TIMM_LEVELS])
    assert sorted(path.stem for path in MODELS.glob("*/*.yaml")) == sorted(f"{name}-seg" for name in NAMES)


def test_m0_is_the_documented_table():
    model = load(NAMES[0])
    assert model["backbone"] + model["head"] == DESIGN
    assert (model["nc"], model["depth_multiple"], model["width_multiple"]) == (80, 0.33, 0.25)
    assert len(model["anchors"]) == 3


@pytest.mark.parametrize("name", NAMES)
def test_only_variant_and_neck_size_differ(name):
    model, first = load(name), load(NAMES[0])
    variant = f"EfficientViT_M{NAMES.index(name)}"
    assert model["backbone"].pop(0) == [-1, 1, variant, []]
    first["backbone"].pop(0)
    assert 0.25 <= model.pop("width_multiple") <= 0.75
    assert model.pop("depth_multiple") in (0.33, 0.67)
    del first["width_multiple"], first["depth_multiple"]
    assert model == first


@pytest.mark.parametrize("name", NAMES)
def test_segmentation_differs_from_detection_in_its_head_alone(name):
    model, detection = load(f"segment/{name}-seg"), load(name)
    assert model["head"].pop() == [[13, 16, 19], 1, "Segment", ["nc", "anchors", 32, 256]]
    detection["head"].pop()
    assert model == detection


def test_timm_differs_in_the_backbone_and_the_neck_size():
    model, first = load("yolov5-timm"), load(NAMES[0])
    assert model["backbone"].pop(0) == [-1, 1, "TimmBackbone", ["convnext_tiny", True, [8, 16, 32]]]
    first["backbone"].pop(0)
    assert (model.pop("width_multiple"), first.pop("width_multiple")) == (0.5, 0.25)
    assert model == first


@pytest.mark.parametrize("name", TIMM_LEVELS)
def test_timm_levels(name):
    """Each level's stride, followed through the rows as YOLOv5 numbers them; what Concat joins is of one stride."""
    model = load(name)
    first, *rows = model["backbone"] + model["head"]
    maps = first[3][2]
    strides = [None] * (5 - len(maps)) + maps
    for source, _, kind, args in rows:
        *others, nearest = [strides[k] for k in ([source] if isinstance(source, int) else source)][::-1]
        if kind == "Detect":
            assert [strides[k] for k in source] == TIMM_LEVELS[name]
            assert len(model["anchors"]) == len(source)
        else:
            assert set(others) <= {nearest}, (source, kind)
            factor = {"nn.Upsample": 0.5}.get(kind, args[2] if kind == "Conv" else 1)
            strides.append(int(nearest * factor))


@pytest.mark.parametrize("name", [*NAMES, *TIMM_LEVELS, *(f"segment/{name}-seg" for name in NAMES)])
def test_ascii_as_every_release_reads_them(name):
    (MODELS / f"{name}.yaml").read_text(encoding="ascii")
