"""Checkpoints load whole or not at all."""

import pickle

import pytest
import torch

from models.backbone.registry import backbone_class

from . import golden

M0 = backbone_class("EfficientViT_M0")


@pytest.fixture
def published():
    return golden.checkpoint("classifier/m0")


@pytest.fixture
def load(tmp_path):
    def save_and_load(content):
        torch.save(content, tmp_path / "weights.pth")
        return M0(weights=str(tmp_path / "weights.pth"))

    return save_and_load


def test_the_checkpoint_decides_the_query_kernels(load, published):
    kernels = [head.conv.kernel_size[0] for head in load(published).stages[0].blocks[0].attention.query_depthwise]
    assert kernels == [5, 5, 5, 5]


def test_starts_in_eval_mode_so_that_statistics_stay(load, published):
    backbone = load({"model": published})
    assert not any(module.training for module in backbone.modules())
    assert "tensors loaded from" in backbone.notes


def test_two_dimensional_pointwise_weights(load, published):
    flat = {k: v[:, :, 0, 0] if v.dim() == 4 and v.shape[2:] == (1, 1) else v for k, v in published.items()}
    expected, found = load(published).state_dict(), load(flat).state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_own_state_dict(load):
    source = M0()
    found = load(source.state_dict()).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in source.state_dict().items())


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("blocks1.0.dw0.m.c.weight"), "1 missing: stages.0.blocks.0.depthwise1.conv.weight"),
        (lambda state: state.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (lambda state: state.update({"patch_embed.0.c.weight": torch.zeros(9, 3, 3, 3)}), "1 of another shape: stem"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_what_does_not_fit_is_named(load, published, edit, message):
    edit(published)
    with pytest.raises(ValueError, match=message):
        load({"model": published})


def test_another_variant_is_refused(load):
    with pytest.raises(ValueError, match="are not those of EfficientViT_M0"):
        load(golden.checkpoint("detector/m1"))


class Malicious:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle ran')",)


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html>Not found</html>",
        b"",
        pickle.dumps(Malicious()),
    ],
    ids=["html", "empty", "malicious pickle"],
)
def test_a_bad_file_is_refused_and_does_not_run(tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read safely as a checkpoint"):
        M0(weights=str(tmp_path / "bad.pth"))


@pytest.mark.parametrize("content", [{}, {"model": None}, [1, 2], {"epoch": 3}], ids=str)
def test_a_file_without_tensors_is_refused(load, content):
    with pytest.raises(ValueError, match="holds no tensors by name"):
        load(content)
