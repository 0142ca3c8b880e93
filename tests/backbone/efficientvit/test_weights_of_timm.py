"""timm's checkpoints, from files and from its hub; timm is the reference."""

import sys
import types

import pytest
import torch
from torchvision.transforms.functional import normalize

from models.backbone.efficientvit.network import VARIANTS
from models.backbone.registry import backbone_class
from tests.backbone.efficientvit.test_network import randomise
from tests.compare_maps import largest_error

timm = pytest.importorskip("timm")
M0 = backbone_class("EfficientViT_M0")
SIZE = 448  # maps of 28, 14 and 7 cells, so that timm too has 7x7 windows in each stage


def timm_model(name="EfficientViT_M0", size=SIZE):
    """timm's model of the same name with random weights, each of which matters."""
    torch.manual_seed(0)
    model = timm.create_model(name.lower(), pretrained=False, img_size=size).eval()
    randomise(model)
    return model


def maps_of(reference, image):
    """As its forward_intermediates, which old versions have not."""
    maps = [reference.patch_embed(image)]
    for stage in reference.stages:
        maps.append(stage(maps[-1]))
    return maps[1:]


@pytest.fixture
def weights(tmp_path):
    def save(content, name="timm.pth"):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return save


def normalised(image, model):
    """What timm feeds a model: torchvision's normalisation with the model's own statistics."""
    return normalize(image, model.pretrained_cfg["mean"], model.pretrained_cfg["std"])


@pytest.mark.parametrize("name", VARIANTS)
def test_features_equal_those_of_timm(name, weights):
    """Of an image from 0 to 1, which timm gets normalised."""
    reference = timm_model(name)
    backbone = backbone_class(name)(weights=weights(reference.state_dict()), stem_stride=16)
    image = torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64)
    reference.double()
    with torch.no_grad():
        expected = maps_of(reference, normalised(image, reference))
        maps = backbone(image.float())
        assert largest_error(maps, [feature_map.float() for feature_map in expected]) <= 1e-5
        backbone.double()
        assert largest_error(backbone(image), expected) <= 1e-11
        assert largest_error(backbone.fuse()(image), expected) <= 1e-11
    assert [m.shape[-1] for m in maps] == [28, 14, 7]


@pytest.mark.parametrize("suffix", ["pth", "bin", "safetensors"])
def test_kinds_of_files(suffix, tmp_path, weights):
    reference = timm_model(size=224)
    path = weights(reference.state_dict(), f"m0.{suffix}")
    if suffix == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(reference.state_dict(), path)
    backbone = M0(weights=path)
    assert torch.equal(backbone.stem.conv4.conv.weight, reference.patch_embed.conv4.conv.weight)
    assert "3 attention biases resized to 7x7 windows, left out: 7 of the classifier head; " in backbone.notes


@pytest.mark.parametrize("name", ["efficientvit_b0", "efficientvit_l1"])
def test_the_network_of_mit_is_told_apart(name, weights):
    with pytest.raises(ValueError, match="holds the EfficientViT of MIT"):
        M0(weights=weights(timm.create_model(name, pretrained=False).state_dict()))


def test_true_fetches_through_the_hub_code_of_timm(monkeypatch):
    reference, asked = timm_model(size=224), []

    def hub(model_id, filename="pytorch_model.bin", weights_only=False):
        asked.append((model_id, weights_only))
        return reference.state_dict()

    monkeypatch.setattr("timm.models.load_state_dict_from_hf", hub)
    backbone = M0(weights=True)
    assert asked == [("timm/efficientvit_m0.r224_in1k", True)]
    assert "tensors loaded from timm's timm/efficientvit_m0.r224_in1k" in backbone.notes
    assert not backbone.training
    assert torch.equal(backbone.stem.conv4.conv.weight, reference.patch_embed.conv4.conv.weight)


def test_true_finds_what_timm_has_in_its_cache(monkeypatch, tmp_path):
    """The hub's own cache of files, without a network."""
    hub = pytest.importorskip("timm.models._hub")
    save_file = pytest.importorskip("safetensors.torch").save_file
    reference = timm_model(size=224)
    save_file(reference.state_dict(), str(tmp_path / "model.safetensors"))
    monkeypatch.setattr(hub, "hf_hub_download", lambda repo_id, filename, **_: str(tmp_path / filename))
    backbone = M0(weights=True)
    assert torch.equal(backbone.stem.conv4.conv.weight, reference.patch_embed.conv4.conv.weight)


def test_an_older_timm_whose_hub_function_takes_no_weights_only(monkeypatch):
    state = timm_model(size=224).state_dict()
    monkeypatch.setattr("timm.models.load_state_dict_from_hf", lambda model_id, filename="": state)
    assert "tensors loaded" in M0(weights=True).notes


def test_a_failed_download_is_reported(monkeypatch):
    def hub(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models.load_state_dict_from_hf", hub)
    message = (
        r"could not fetch timm/efficientvit_m0.r224_in1k .*OSError: no route to host\); check the network, or down"
    )
    with pytest.raises(ValueError, match=message):
        M0(weights=True)


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        (None, r"weights True needs timm 0.9.8 or later .*: pip install 'timm>=0.9.8'"),
        (types.ModuleType("timm.models"), r"weights True needs timm 0.9.8 or later .*: pip install 'timm>=0.9.8'"),
        (
            types.SimpleNamespace(get_pretrained_cfg=lambda name: {}, load_state_dict_from_hf=None),  # as in 0.6.13
            r"the timm installed here has no weights of efficientvit_m0: pip install 'timm>=0.9.8'",
        ),
    ],
    ids=["none", "without the hub function", "without the model"],
)
def test_true_without_a_timm_that_has_them(installed, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.models", installed)
    with pytest.raises(ValueError, match=message):
        M0(weights=True)
