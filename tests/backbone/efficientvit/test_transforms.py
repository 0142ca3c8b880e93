"""What torch's function transforms and exporter ask of the backbones: vmap, gradients per image, meta, torch.export."""

import pytest
import torch

from models.backbone.efficientvit.network import EfficientViT_M0, EfficientViT_M1
from models.backbone.registry import backbone_class, register
from tests.backbone.efficientvit.test_network import build
from tests.compare_maps import assert_same, largest_error

if not hasattr(torch, "func"):
    pytest.skip("torch.func came with torch 2.0", allow_module_level=True)


@pytest.fixture(params=[False, True], ids=["unfused", "fused"])
def backbone(request):
    model = build().eval()
    return model.fuse() if request.param else model


def loss(backbone, parameters, image):
    maps = torch.func.functional_call(backbone, parameters, (image[None],))
    return sum(feature_map.square().mean() for feature_map in maps)


def test_vmap_over_images(backbone):
    images = torch.rand(3, 2, 3, 64, 96)
    with torch.no_grad():
        expected = [torch.stack(maps) for maps in zip(*map(backbone, images))]
        assert largest_error(torch.func.vmap(lambda image: tuple(backbone(image)))(images), expected) <= 1e-5


def test_gradients_of_each_image(backbone):
    backbone.double()
    images = torch.rand(3, 3, 64, 64).double()
    parameters = {name: value.detach() for name, value in backbone.named_parameters()}
    gradient = torch.func.grad(lambda values, image: loss(backbone, values, image))
    each = torch.func.vmap(gradient, in_dims=(None, 0))(parameters, images)
    assert each.keys() == parameters.keys()
    of_second = {name: value[1] for name, value in each.items()}
    torch.testing.assert_close(of_second, gradient(parameters, images[1]), rtol=1e-9, atol=1e-12)


def test_an_ensemble(backbone):
    image = torch.rand(1, 3, 64, 64)
    own = {name: value.detach() for name, value in backbone.named_parameters()}
    both = {name: torch.stack([value, 1.1 * value]) for name, value in own.items()}
    run = lambda values: tuple(torch.func.functional_call(backbone, values, (image,)))  # noqa: E731
    with torch.no_grad():
        maps = torch.func.vmap(run)(both)
        assert largest_error([feature_map[0] for feature_map in maps], run(own)) <= 1e-5


def test_built_without_storage():
    """As large models are: on the meta device, with storage and numbers afterwards."""
    expected, image = build().eval(), torch.rand(1, 3, 64, 64)
    with torch.device("meta"):
        empty, assigned, fused = EfficientViT_M0(), EfficientViT_M0(), EfficientViT_M0().fuse()
    empty.to_empty(device="cpu").load_state_dict(expected.state_dict())
    assigned.load_state_dict(expected.state_dict(), assign=True)
    with torch.no_grad():
        for model in (empty, assigned):
            assert_same(model.eval()(image), expected(image))
    assert fused(image.to("meta"))[2].shape == (1, 192, 2, 2)


@pytest.mark.skipif(not hasattr(torch, "compiler") or not hasattr(torch.compiler, "is_exporting"), reason="torch < 2.7")
@pytest.mark.filterwarnings("ignore")  # of torch's own making
def test_torch_export_with_dynamic_sizes():
    """One program for all sizes from 225 px up, written down from any of them; a smaller image is an error."""
    backbone, any_size = build().eval().fuse(), torch.export.Dim.DYNAMIC
    sizes = {"x": {0: any_size, 2: any_size, 3: any_size}}
    program = torch.export.export(backbone, (torch.rand(2, 3, 256, 352),), dynamic_shapes=sizes, strict=False).module()
    with torch.no_grad():
        for size in [(1, 3, 256, 352), (2, 3, 320, 256), (3, 3, 448, 448), (1, 3, 229, 671)]:
            image = torch.rand(size)
            assert largest_error(program(image), backbone(image)) <= 1e-5
        for size in [(1, 3, 224, 256), (1, 3, 96, 128)]:
            with pytest.raises(AssertionError, match="Guard failed"):
                program(torch.rand(size))


class Mine(EfficientViT_M1):
    """A user's subclass, as docs/backbones.md shows."""


def test_a_subclass_of_a_variant():
    register("Mine", __name__)
    torch.manual_seed(0)
    mine = backbone_class("Mine")(frozen_stages=1)
    torch.manual_seed(0)
    assert_same(mine.eval()(torch.ones(1, 3, 64, 64)), EfficientViT_M1().eval()(torch.ones(1, 3, 64, 64)))
    with pytest.raises(ValueError, match="Mine: frozen_stages must be 0 to 4, not 9"):
        Mine(frozen_stages=9)
