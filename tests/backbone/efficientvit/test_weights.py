"""Checkpoints load whole or not at all, whatever the names, prefixes and shapes their makers chose."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.backbone.checkpoints.compare import first_names
from models.backbone.efficientvit.weights import adapt_channels
from models.backbone.registry import backbone_class
from tests import golden
from tests.backbone.efficientvit.test_network import build
from tests.compare_maps import assert_same, largest_error

M0 = backbone_class("EfficientViT_M0")


@pytest.fixture
def published():
    return golden.checkpoint("classifier/m0")


@pytest.fixture
def load(tmp_path):
    def save_and_load(content, **options):
        torch.save(content, tmp_path / "weights.pth")
        return M0(weights=str(tmp_path / "weights.pth"), **options)

    return save_and_load


def test_the_checkpoint_decides_the_query_kernels(load, published):
    kernels = [head.conv.kernel_size[0] for head in load(published).stages[0].blocks[0].attention.query_depthwise]
    assert kernels == [5, 5, 5, 5]


def test_starts_in_eval_mode_so_that_statistics_stay(load, published):
    assert not any(module.training for module in load({"model": published}).modules())


@pytest.mark.parametrize("nothing", ["", None, False], ids=str)
def test_without_weights(nothing):
    backbone = M0(weights=nothing)
    assert backbone.training
    assert backbone.notes == ""


def test_a_path_object(tmp_path, published):
    torch.save(published, tmp_path / "m0.pth")
    assert str(tmp_path / "m0.pth") in M0(weights=Path(tmp_path / "m0.pth")).notes


def test_the_trained_geometry(load, published):
    backbone = load(published, stem_stride=16)
    assert backbone.strides == (16, 32, 64)
    assert [m.shape[-1] for m in backbone(torch.rand(1, 3, 128, 128))] == [8, 4, 2]


def test_two_dimensional_pointwise_weights(load, published):
    flat = {k: v[:, :, 0, 0] if v.dim() == 4 and v.shape[2:] == (1, 1) else v for k, v in published.items()}
    assert_same(load(flat).state_dict(), load(published).state_dict())


def test_bias_tables_are_resized_head_by_head(load, published):
    found = load(published).stages[2].blocks[0].attention.bias
    table = published["blocks3.3.mixer.m.attn.attention_biases"].view(4, 1, 4, 4)
    expected = torch.cat([F.interpolate(head[None], (7, 7), mode="bicubic", align_corners=False) for head in table])
    assert torch.equal(found, expected.flatten(1))


@pytest.mark.parametrize(
    "prefix", ["", "model.0.", "module.model.0.", "0.", "module.", "backbone.", "_orig_mod.model.0."], ids=repr
)
def test_own_state_dict_with_a_prefix(load, prefix):
    state = build().state_dict()
    others = {} if prefix == "" else {"neck.weight": torch.zeros(1), "model.10.stem.weight": torch.zeros(1)}
    backbone = load({**others, **{prefix + name: value for name, value in state.items()}})
    assert_same(backbone.state_dict(), state)
    left_out = "2 of other layers" if others else "none"
    assert backbone.notes.endswith(f"left out: {left_out}; images as they are, not normalised")


def test_own_state_dict_from_when_the_bias_was_called_bias_table(load):
    state = build().state_dict()
    old = {name.replace("attention.bias", "attention.bias_table"): value for name, value in state.items()}
    assert old.keys() != state.keys()
    assert_same(load(old).state_dict(), state)


def test_half_precision_becomes_float(load):
    state = build().half().state_dict()
    found = load(state).state_dict()
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    assert_same(found, {name: value.float() if value.is_floating_point() else value for name, value in state.items()})


def test_frozen_stages_stay_frozen_with_weights(load, published):
    backbone = load(published, frozen_stages=2)
    assert not any(p.requires_grad for p in [*backbone.stem.parameters(), *backbone.stages[0].parameters()])
    assert all(p.requires_grad for p in backbone.stages[1].parameters())


def test_the_log_line_tells_what_was_loaded_resized_and_left_out(load, published):
    own = len(M0().state_dict()) - 2  # without mean and deviation of the images
    line = load({"model": published}).notes
    assert line.startswith(f"EfficientViT_M0: {own} tensors loaded from ")
    assert line.endswith(
        "weights.pth, 3 attention biases resized to 7x7 windows, left out: 7 of the classifier head; images normalised by "
        "mean 0.485, 0.456, 0.406 and deviation 0.229, 0.224, 0.225"
    )
    assert "\n" not in line


@pytest.mark.parametrize("in_channels", [1, 2, 4, 6, 7])
def test_another_number_of_input_channels(load, published, in_channels):
    backbone = load(published, in_channels=in_channels)
    assert backbone.stem.conv1.conv.weight.shape == (8, in_channels, 3, 3)
    assert f"the first convolution adapted from 3 to {in_channels} channels" in backbone.notes


def test_one_channel_sees_a_grey_image_as_three_do(load, published):
    grey = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = load(published, normalize=False)(grey.expand(-1, 3, -1, -1))
        maps = load(published, in_channels=1, normalize=False)(grey)
    assert largest_error(maps, expected) <= 1e-4  # the sum of three products, rounded otherwise


@pytest.mark.parametrize("in_channels", [1, 2, 4, 6, 7])
def test_channels_are_adapted_as_timm_does(in_channels):
    timm_layers = pytest.importorskip("timm.models._manipulate")
    weight = torch.randn(8, 3, 3, 3)
    expected = timm_layers.adapt_input_conv(in_channels, weight.clone())
    assert torch.allclose(adapt_channels(weight, in_channels), expected, rtol=1e-6, atol=0)  # one rounding


def test_own_weights_of_six_channels_are_taken_as_they_are(load):
    state = build(in_channels=6).state_dict()
    assert_same(load(state, in_channels=6).state_dict(), state)
    with pytest.raises(
        ValueError, match=r"1 of another shape: stem.conv1.conv.weight \(8, 6, 3, 3\) for \(8, 3, 3, 3\)"
    ):
        load(state)


STEM, TABLE = "patch_embed.0.c.weight", "blocks1.0.mixer.m.attn.attention_biases"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("blocks1.0.dw0.m.c.weight"), "1 missing: stages.0.blocks.0.depthwise1.conv.weight"),
        (lambda state: state.pop(STEM), "1 missing: stem.conv1.conv.weight"),
        (lambda state: state.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (lambda state: state.update({STEM: torch.zeros(9, 3, 3, 3)}), "1 of another shape: stem"),
        (lambda state: state.update({STEM: torch.zeros(())}), r"1 of another shape: stem.conv1.conv.weight \(\) for"),
        (lambda state: state.update({TABLE: torch.zeros(4, 50)}), r"1 of another shape: .* \(4, 50\) for \(4, 49\)"),
        (lambda state: state.update({TABLE: torch.zeros(4, 0)}), r"1 of another shape: .* \(4, 0\) for \(4, 49\)"),
        (lambda state: state.update({TABLE: torch.zeros(49)}), r"1 of another shape: .* \(49,\) for \(4, 49\)"),
        (
            lambda state: [state.pop(name) for name in list(state) if ".qkvs.3." in name or ".dws.3." in name],
            "72 missing: .*qkv.3.* and 64 more",
        ),
    ],
    ids=["missing", "stem", "unexpected", "shape", "scalar", "no square", "no table", "one head", "three heads"],
)
def test_what_does_not_fit_is_named(load, published, edit, message):
    edit(published)
    with pytest.raises(ValueError, match=f"are not those of EfficientViT_M0: {message}"):
        load({"model": published})


def test_nothing_is_loaded_when_something_does_not_fit(load, published, monkeypatch):
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *_: pytest.fail("something was loaded"))
    published["extra"] = torch.zeros(1)
    with pytest.raises(ValueError, match="unexpected"):
        load(published)


@pytest.mark.parametrize("layout", [f"{kind}/m{k}" for kind in ("detector", "classifier") for k in range(1, 6)])
def test_another_variant_is_named(load, layout):
    other = f"EfficientViT_M{layout[-1]}"
    with pytest.raises(ValueError, match=f"holds the weights of {other}; name {other} in the yaml row"):
        load(golden.checkpoint(layout))


@pytest.mark.parametrize(
    "name",
    [
        "stem.in_conv.conv.weight",  # timm's efficientvit_b0
        "backbone.input_stem.op_list.0.conv.weight",  # the authors'
        "stages.3.blocks.1.context_module.main.qkv.conv.weight",
    ],
)
def test_the_network_of_mit_is_told_apart(load, name):
    with pytest.raises(ValueError, match="holds the EfficientViT of MIT"):
        load({name: torch.zeros(8, 3, 3, 3)})


def test_another_network_is_told_by_its_names(load):
    with pytest.raises(ValueError, match=r"no EfficientViT backbone: its 2 tensors are named weight, bias"):
        load(nn.Conv2d(3, 8, 3).state_dict())


def test_a_fused_backbone_is_refused(load):
    with pytest.raises(ValueError, match=r"holds a fused backbone.*take a checkpoint from before fuse\(\)"):
        load(build().eval().fuse().state_dict())


@pytest.mark.parametrize(
    ("names", "text"), [([], ""), (["a", "b"], "a, b"), (list("abcdefghij"), "a, b, c, d, e, f, g, h and 2 more")]
)
def test_long_lists_are_cut(names, text):
    assert first_names(names) == text
