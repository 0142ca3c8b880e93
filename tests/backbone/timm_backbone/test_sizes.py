"""For which image size a model of one size is built, as YOLOv5 makes images; and how borders are filled and told."""

import warnings

import pytest
import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of timm's imports
    pytest.importorskip("timm", reason="timm is not installed, and only TimmBackbone rows need it")

from models.backbone.timm_backbone.plan import make_plan
from models.backbone.timm_backbone.sizes import SizeRule, describe_sizes, pad_borders, validation_size

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


def test_cells_that_are_missing_are_filled_on_both_sides_alike():
    """Unpadded convolutions lose them so; the odd one is put at the bottom and right, where images are padded."""
    feature_map = torch.rand(1, 2, 8, 9)
    left, right, top, bottom = padding = (2, 2, 1, 1)
    filled = pad_borders(feature_map, 8 + top + bottom, 9 + left + right)
    assert torch.equal(filled, nn.ZeroPad2d(padding)(feature_map))
    assert torch.equal(pad_borders(feature_map, 9, 12), nn.ZeroPad2d((1, 2, 0, 1))(feature_map))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (SizeRule(32, 32), "any image size"),
        (SizeRule(32, 96), "images are padded to at least 96"),
        (SizeRule(64, 64), "images are padded to multiples of 64"),
        (SizeRule(256, 256, 256), "images are padded to 256x256"),
    ],
    ids=str,
)
def test_the_log_says_which_sizes_a_model_takes(rule, message):
    assert describe_sizes(rule) == message
