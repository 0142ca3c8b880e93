"""For which image size a model of one size is built: what YOLOv5 makes of images at a given --img-size."""

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of timm's imports
    pytest.importorskip("timm", reason="timm is not installed, and only TimmBackbone rows need it")

from models.backbone.timm_plan import make_plan
from models.backbone.timm_sizes import validation_size

ONE_SIZE = "efficientformerv2_s0"


@pytest.mark.parametrize(
    ("image_size", "strides", "built_for"),
    [
        (None, [8, 16, 32], 672),  # YOLOv5's 640, and one cell more
        (640, [8, 16, 32], 672),
        (630, [8, 16, 32], 672),  # YOLOv5 rounds up
        (224, [8, 16, 32], 256),
        (32, [8, 16, 32], 256),  # YOLOv5 finds its strides by such an image
    ],
)
def test_a_model_of_one_size_takes_what_the_host_validates_with(image_size, strides, built_for):
    plan = make_plan(ONE_SIZE, 3, strides, image_size)
    assert tuple(plan.sizes) == (built_for, built_for, built_for)
    assert plan.options["img_size"] == built_for


def test_a_grid_of_64_wants_more():
    assert [validation_size(size, 64) for size in (640, 641)] == [704, 768]


def test_the_next_size_is_taken_that_timm_builds():
    """CrossViT has patches of 12 and 16 pixels."""
    assert make_plan("crossvit_tiny_240", 3, [17]).sizes.largest == 720
