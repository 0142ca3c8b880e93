"""The picture holds the network's values at their places; timm's own network is the reference."""

import pytest
import torch
from torch import nn

from models.backbone.looking.capture import FeatureMap, backbones_of, blocks_of, capture
from models.backbone.looking.letterbox import letterbox
from models.backbone.registry import backbone_class
from models.backbone.tools.look import look
from tests.backbone.efficientvit.test_network import build
from tests.backbone.efficientvit.test_probabilities import softmax_of_timm
from tests.backbone.efficientvit.test_weights_of_timm import SIZE, maps_of, normalised, timm_model
from tests.compare_maps import largest_error

cv2 = pytest.importorskip("cv2")
pytest.importorskip("matplotlib")
np = pytest.importorskip("numpy")


class TinyDetector(nn.Module):
    """What is asked of a model of YOLOv5: the backbone in it, and a forward pass, whose rest here must not be run."""

    def __init__(self, backbone, *, before=None):
        super().__init__()
        self.model = nn.ModuleList([before or nn.Identity(), backbone])

    def forward(self, x):
        self.model[1](self.model[0](x))
        raise AssertionError("what follows the backbone ran")


@pytest.fixture
def photo(tmp_path):
    """An image whose every pixel is another, without loss."""

    def write(height, width, name="photo.png"):
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / name), pixels)
        return tmp_path / name

    return write


@pytest.fixture
def save(tmp_path):
    """Write a checkpoint as train.py does."""

    def save_model(model, name="best.pt"):
        torch.save({"epoch": -1, "model": model, "ema": None}, tmp_path / name)
        return tmp_path / name

    return save_model


def images_of(axes):
    """What lies over the photograph in each panel, by the panel's title."""
    return {panel.get_title(): panel.images[-1] for panel in axes if panel.get_title()}


def test_the_values_are_those_of_timm(photo, save, tmp_path, monkeypatch):
    """At one pixel of the network for each of the photograph, so that neither is resized."""
    reference = timm_model()
    torch.save(reference.state_dict(), tmp_path / "timm.pth")
    backbone = backbone_class("EfficientViT_M0")(weights=str(tmp_path / "timm.pth"), stem_stride=16)
    path, x, y = photo(SIZE, SIZE), 300, 130
    figure, shown = look(save(TinyDetector(backbone)), path, cell=(x, y), img_size=SIZE)
    assert shown == "the maps of EfficientViT_M0, and the attention of pixel 300, 130"

    image = torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    expected = softmax_of_timm(reference, image, monkeypatch)  # 1, 2 and 3 blocks of 4 heads
    panels = [panel for panel in figure.axes if panel.get_title().startswith("head")]
    assert len(panels) == 12
    for stage, (stride, windows, last_block) in enumerate([(16, 4, 0), (32, 2, 2), (64, 1, 5)]):
        column, row = x // stride, y // stride
        window = row // 7 * windows + column // 7
        for head in range(4):
            drawn = panels[4 * stage + head].images[-1]
            shares = expected[4 * last_block + head][window, row % 7 * 7 + column % 7].view(7, 7)
            assert largest_error(drawn.get_array().data, shares.numpy()) < 1e-5
            left, bottom = column // 7 * 7 * stride, (row // 7 + 1) * 7 * stride
            assert drawn.get_extent() == [left, left + 7 * stride, bottom, bottom - 7 * stride]
            assert f"at most {shares.max():.0%}" in panels[4 * stage + head].get_title()
    with torch.no_grad():
        norms = [feature_map[0].norm(dim=0) for feature_map in maps_of(reference, normalised(image, reference))]
    for (title, drawn), norm, (stride, channels) in zip(
        list(images_of(figure.axes).items())[1:4], norms, [(16, 64), (32, 128), (64, 192)]
    ):
        assert title == f"map of stride {stride}, {channels} channels"
        # the middle of each cell, between the four pixels around it
        values = torch.from_numpy(drawn.get_array().data).view(len(norm), stride, len(norm), stride)
        middle = values[:, stride // 2 - 1 : stride // 2 + 1, :, stride // 2 - 1 : stride // 2 + 1].mean((1, 3))
        assert largest_error(middle, norm) < 0.1, "between cells the drawing is smooth"
        assert drawn.get_extent() == [0, SIZE, SIZE, 0]


@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
@pytest.mark.parametrize("half", [False, True], ids=["float", "half"])
def test_fused_and_half_precision_checkpoints(photo, save, fused, half):
    backbone = build("EfficientViT_M1", in_channels=3, normalize=[[0.4] * 3, [0.2] * 3]).eval()
    path = photo(100, 160)
    expected = panels_of(look(save(TinyDetector(backbone)), path, img_size=160)[0])
    if fused:
        backbone.fuse()
    found = panels_of(look(save(TinyDetector(backbone.half() if half else backbone)), path, img_size=160)[0])
    assert largest_error(found, expected) < (0.1 if half else 1e-4)


def panels_of(figure):
    return [torch.as_tensor(np.asarray(image.get_array())).double() for image in images_of(figure.axes).values()]


def test_every_stage_and_every_block_of_one(photo, save):
    weights, path = save(TinyDetector(build("EfficientViT_M5"))), photo(64, 96)
    counts = {None: [3, 3, 4], 1: [3], 2: [3] * 3, 3: [4] * 4}
    for stage, heads in counts.items():
        figure, _ = look(weights, path, stage=stage, img_size=96)
        labels = [panel.get_ylabel() for panel in figure.axes if panel.get_ylabel().startswith("stage")]
        expected = [(stage, block) for block in range(1, 1 + len(heads))] if stage else [(1, 1), (2, 3), (3, 4)]
        assert [label.split("\n")[0] for label in labels] == [f"stage {s}, block {b}" for s, b in expected]
        assert sum(panel.get_title().startswith("head") for panel in figure.axes) == sum(heads)


def test_a_model_of_timm_has_maps_alone(photo, save):
    pytest.importorskip("timm")
    backbone = backbone_class("TimmBackbone")(3, "test_resnet", strides=[4, 8, 16, 32])
    figure, shown = look(save(TinyDetector(backbone)), photo(48, 64), img_size=64)
    assert shown == "the maps of TimmBackbone test_resnet"
    titles = [title.split(",")[0] for title in images_of(figure.axes)]
    assert titles == ["64x48 pixels", *(f"map of stride {stride}" for stride in (4, 8, 16, 32))]
    with pytest.raises(ValueError, match=r"--stage 1: the backbone is TimmBackbone, and it has no attention that can"):
        look(save(TinyDetector(backbone)), photo(48, 64), stage=1, img_size=64)


def test_without_a_cell_it_is_the_strongest_inside_the_photograph():
    norm = torch.zeros(3, 5)
    norm[0, 4], norm[2, 0], norm[1, 3], norm[1, 2] = 9, 8, 7, 6
    feature_map = FeatureMap(32, 192, norm)
    assert feature_map.strongest_cell(0, 0, 160, 96) == (144, 16)
    assert feature_map.strongest_cell(0, 20, 160, 76) == (112, 48), "the border above and below does not count"
    assert feature_map.strongest_cell(70, 20, 90, 76) == (80, 48)
    assert feature_map.strongest_cell(80, 48, 112, 80) == (80, 48), "a middle on the left or upper edge is inside"


def test_a_thin_photograph_has_a_cell_too(photo, save):
    """It lies between the middles of two cells."""
    weights = save(TinyDetector(build()))
    for height, width in ((1, 300), (300, 1), (1, 1)):
        _, shown = look(weights, photo(height, width), img_size=96)
        x, y = map(int, shown.partition(" of pixel ")[2].split(",")[:2])
        assert 0 <= x < width
        assert 0 <= y < height


def test_the_share_outside_the_photograph_is_told(photo, save):
    """At 96 x 64 pixels, the map of stride 32 has 3 x 2 cells, and the rest of its window is padding."""
    figure, _ = look(save(TinyDetector(build())), photo(64, 96), stage=3, img_size=96)
    for panel in figure.axes:
        if panel.get_title().startswith("head"):
            shares = panel.images[-1].get_array().data
            assert f", {1 - shares[:2, :3].sum():.0%} outside" in panel.get_title()


def test_hooks_are_gone_afterwards_and_later_layers_do_not_run():
    model = TinyDetector(build().eval(), before=nn.AvgPool2d(2))
    (backbone,) = backbones_of(model)
    maps, attention = capture(model, backbone, torch.rand(1, 3, 64, 64), blocks_of(backbone))
    assert [feature_map.stride for feature_map in maps] == [16, 32, 64], "of the image, not of what the backbone gets"
    assert [block.stride for block in attention] == [16, 32, 64]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with pytest.raises(AssertionError, match="what follows the backbone ran"):
        model(torch.rand(1, 3, 64, 64))


def test_a_place_of_the_photograph_and_back():
    fitted = letterbox(np.zeros((50, 200, 3), np.uint8), 640, 32)
    assert fitted.image.shape == (1, 3, 160, 640)
    assert fitted.to_image(200, 50) == (640, 160)
    fitted = letterbox(np.zeros((45, 200, 3), np.uint8), 640, 32)
    assert (fitted.left, fitted.top, fitted.width, fitted.height) == (0, 8, 640, 144)
    assert fitted.to_image(0, 0) == (0, 8)
    assert fitted.to_photo(640, 152) == (200, 45)
    assert fitted.pixel_at(700, -5) == (199, 0)
    upright = letterbox(np.zeros((200, 45, 3), np.uint8), 640, 32)
    assert (upright.left, upright.top, upright.width, upright.height) == (8, 0, 144, 640)
