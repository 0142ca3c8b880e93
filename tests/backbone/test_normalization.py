"""Images are normalised as those were that the weights were trained on; torchvision and timm are the reference."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from models.backbone.normalization import IMAGENET, NEUTRAL, Normalization, Statistics
from models.backbone.registry import backbone_class
from tests.compare_maps import largest_error

M0 = backbone_class("EfficientViT_M0")
OWN = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
ODD = Statistics((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))  # of CLIP


def image(dtype=torch.float32, channels=3):
    return torch.rand(2, channels, 32, 64, generator=torch.Generator().manual_seed(0), dtype=dtype)


def by_torchvision(x, statistics):
    functional = pytest.importorskip("torchvision.transforms.functional")
    return functional.normalize(x, *map(list, statistics))


TOLERANCES = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3}


@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("statistics", [IMAGENET, ODD], ids=["ImageNet", "CLIP"])
def test_as_torchvision_does_it(statistics, dtype, fused):
    module = Normalization(3, statistics).to(dtype)
    if fused:
        module.fuse(dtype)
    found, expected = module(image(dtype)), by_torchvision(image(dtype).double(), statistics)
    assert found.dtype == dtype
    assert (found.double() - expected).abs().max() <= TOLERANCES[dtype] * expected.abs().max()


def test_there_is_nothing_to_do_for_random_weights():
    module, x = Normalization(3), image()
    assert module(x) is x
    module.fuse(torch.float32)
    assert module(x) is x
    assert M0().notes == ""


def test_no_parameter_is_added():
    assert list(Normalization(3, IMAGENET).parameters()) == []
    assert len(list(M0(normalize=OWN).parameters())) == len(list(M0().parameters()))


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (1, ((0.449,), (0.226,))),
        (2, ((0.485, 0.456), (0.229, 0.224))),
        (4, ((0.485, 0.456, 0.406, 0.485), (0.229, 0.224, 0.225, 0.229))),
    ],
)
def test_other_numbers_of_channels(channels, expected):
    for found, values in zip(IMAGENET.of_channels(channels), expected):
        assert found == pytest.approx(values)
    assert Normalization(channels, IMAGENET)(image(channels=channels)).shape[1] == channels


ROUTES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "half and back": lambda model: copy.deepcopy(model).half().float(),
    "state_dict into a network of random weights": lambda model: loaded(M0(), model.state_dict()),
    "a saved state_dict": lambda model: loaded(M0(), saved(model.state_dict())),
    "what the host keeps of a state_dict, those of a like shape": lambda model: loaded(
        M0(), alike(model.state_dict(), M0().state_dict()), strict=False
    ),
    "a network without storage": lambda model: loaded(without_storage(), model.state_dict()),
}


def alike(state, own):
    return {key: value for key, value in state.items() if value.shape == own[key].shape}


def loaded(model, state, **options):
    model.load_state_dict(state, **options)
    return model


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file)


def without_storage():
    if not hasattr(torch.device, "__enter__"):
        pytest.skip("this torch builds nothing on the meta device")
    with torch.device("meta"):
        return M0().to_empty(device="cpu")


@pytest.mark.parametrize("route", ROUTES)
def test_it_travels(route):
    model = M0(normalize=[list(values) for values in ODD])
    arrived = ROUTES[route](model)
    assert arrived.normalization.statistics() == ODD
    assert not arrived.normalization.is_neutral
    back = loaded(arrived, M0().state_dict())
    assert back.normalization.is_neutral


def test_a_fused_one_may_be_loaded_again():
    model = M0(normalize=OWN).eval()
    model.normalization.fuse(torch.float32)
    loaded(model.normalization, Normalization(3, ODD).state_dict())
    assert torch.equal(model.normalization(image()), Normalization(3, ODD)(image()))


def test_a_moving_average_leaves_it_exact():
    """As YOLOv5's: every floating-point tensor, in place, each step."""
    model = M0(normalize=[list(values) for values in ODD])
    average, state = copy.deepcopy(model), model.state_dict()
    for _ in range(10):
        for name, value in average.state_dict().items():
            if value.dtype.is_floating_point:
                value *= 0.9999
                value += (1 - 0.9999) * state[name].detach()
    assert average.normalization.statistics() == ODD


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of sizes, which other tests are about
def test_a_trace_holds_it():
    model = M0(normalize=OWN).eval().fuse()
    x = image()
    with torch.no_grad():
        traced = torch.jit.trace(model, x, strict=False, check_trace=False)
        assert largest_error(traced(x), model(x)) <= 1e-5


def test_weights_of_this_network_bring_theirs(tmp_path):
    torch.save(M0(normalize=OWN).state_dict(), tmp_path / "own.pt")
    backbone = M0(weights=str(tmp_path / "own.pt"))
    assert backbone.normalization.statistics() == Statistics(*map(tuple, OWN))
    assert backbone.notes.endswith("images normalised by mean 0.1, 0.2, 0.3 and deviation 0.4, 0.5, 0.6")
    assert M0(weights=str(tmp_path / "own.pt"), normalize=False).normalization.is_neutral
    assert M0(weights=str(tmp_path / "own.pt"), normalize=OWN[::-1]).normalization.statistics().mean == (0.4, 0.5, 0.6)


def test_weights_of_this_network_from_when_it_did_not_normalise(tmp_path):
    state = {key: value for key, value in M0().state_dict().items() if not key.startswith("normalization.")}
    torch.save(state, tmp_path / "own.pt")
    assert M0(weights=str(tmp_path / "own.pt")).normalization.is_neutral


@pytest.mark.parametrize(("prefix", "expected"), [("", IMAGENET), ("backbone.", IMAGENET), ("model.0.", NEUTRAL)])
def test_published_weights_and_those_of_a_detector(prefix, expected, tmp_path):
    """A detector that YOLOv5 has trained with a copied EfficientViT saw images from 0 to 1."""
    from tests import golden

    state = {prefix + key: value for key, value in golden.checkpoint("detector/m0").items()}
    torch.save(state, tmp_path / "published.pth")
    backbone = M0(weights=str(tmp_path / "published.pth"))
    assert backbone.normalization.statistics() == expected.of_channels(3)


def test_a_frozen_stem_sees_normalised_images():
    """The zeros around the image are the mean colour: convolutions without bias see nothing in an image of it."""
    grey = torch.tensor(IMAGENET.mean).reshape(1, 3, 1, 1).expand(1, 3, 64, 64)
    largest = {}
    for normalize in (False, [list(values) for values in IMAGENET]):
        torch.manual_seed(0)
        model = M0(normalize=normalize, frozen_stages=1).eval()
        with torch.no_grad():
            largest[bool(normalize)] = model.stem(model.normalization(grey)).abs().max()
    assert largest[True] < 1e-6 * largest[False]


@pytest.mark.parametrize(
    ("normalize", "message"),
    [
        ([[0.5], [0.5]], "the mean in normalize has 1 values and the image 3"),
        ([[0.5, 0.5, 0.5], [0.5, 0.5]], "the deviation in normalize has 2 values and the image 3"),
        ([[0.5, 0.5, 0.5], [0.5, 0, 0.5]], r"the deviation in normalize must be above 0, not \[0.5, 0, 0.5\]"),
        ([[0.5, 0.5, 0.5], [0.5, -1, 0.5]], "must be above 0"),
        ([[0.5, "a", 0.5], [0.5, 1, 0.5]], "the mean in normalize holds what is no number"),
        ([[0.5, float("nan"), 0.5], [0.5, 1, 0.5]], "holds what is no number"),
        ([0.5, 0.5], "normalize cannot be .0.5, 0.5.; write True for those of the weights, False for none, or"),
        ("imagenet", "normalize cannot be 'imagenet'"),
        (1, "normalize cannot be 1"),
        (None, "normalize cannot be None"),
    ],
)
@pytest.mark.parametrize("name", ["EfficientViT_M0", "TimmBackbone"])
def test_what_is_no_normalisation_is_refused(name, normalize, message):
    if name == "TimmBackbone":
        pytest.importorskip("timm")
    arguments = ["test_resnet"] if name == "TimmBackbone" else []
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        backbone_class(name)(3, *arguments, normalize=normalize)


class TestTimm:
    """Models of timm, with weights from a file."""

    @pytest.fixture(params=["test_resnet", "test_vit", "test_convnext", "lcnet_035", "test_byobnet"])
    def both(self, request, tmp_path):
        """A backbone, and timm's own model with the same numbers, in float64."""
        timm = pytest.importorskip("timm")
        if not timm.is_model(request.param):
            pytest.skip(f"timm {timm.__version__} has no {request.param}")
        torch.manual_seed(0)
        source = timm.create_model(request.param, pretrained=False)
        torch.save(source.state_dict(), tmp_path / "timm.pth")
        strides, size = ([16], None) if "vit" in request.param else ([8, 16, 32], 128)
        backbone = backbone_class("TimmBackbone")(3, request.param, str(tmp_path / "timm.pth"), strides, size)
        reference = copy.deepcopy(backbone.net)
        statistics = source.pretrained_cfg["mean"], source.pretrained_cfg["std"]
        return backbone.double(), reference.double(), statistics

    def test_features_are_those_of_the_normalised_image(self, both):
        from models.backbone.timm_backbone.plan import maps_of

        backbone, reference, statistics = both
        size = max(128, backbone.sizes.smallest)
        x = torch.rand(1, 3, size, size, dtype=torch.float64)
        with torch.no_grad():
            expected = maps_of(reference, by_torchvision(x, statistics))
            assert largest_error(backbone(x), expected) <= 1e-11
            assert largest_error(backbone.fuse()(x), expected) <= 1e-11
        assert f"images normalised by mean {statistics[0][0]}" in backbone.notes

    def test_random_weights_see_images_as_they_are(self):
        pytest.importorskip("timm")
        assert isinstance(backbone_class("TimmBackbone")(3, "test_resnet").normalization, nn.Module)
        assert backbone_class("TimmBackbone")(3, "test_resnet").normalization.is_neutral
