"""What a backbone gets from the contract when it leaves something out."""

import pytest
import torch

from models.backbone.contract import Backbone


class Bare(Backbone):
    channels, strides = (8,), (8,)


def test_a_backbone_without_a_forward_pass_is_named():
    with pytest.raises(NotImplementedError, match=r"Bare has no forward\(\)"):
        Bare()(torch.rand(1, 3, 32, 32))


def test_a_backbone_with_nothing_to_fuse_stays_as_it_is():
    backbone = Bare()
    assert backbone.fuse() is backbone
    assert backbone.notes == ""
