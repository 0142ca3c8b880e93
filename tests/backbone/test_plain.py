"""The benchmarks' yardstick computes what it is a yardstick of."""

import pytest
import torch

from benchmarks.plain import plain
from models.backbone.efficientvit.network import VARIANTS
from tests.backbone.efficientvit.test_network import build
from tests.compare_maps import largest_error


@pytest.mark.parametrize("name", VARIANTS)
def test_plain_form_computes_the_same(name):
    backbone = build(name).eval()
    image = torch.rand(2, 3, 96, 160)
    with torch.no_grad():
        assert largest_error(plain(backbone, image), backbone(image)) <= 1e-5
