"""How far features are off on photographs that are not normalised, and how long normalising takes.

`.venv/bin/python -m benchmarks.normalization path/to/photographs` writes results/normalization.json. The networks have
random weights, and the batch norms have the statistics of the normalised photographs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import normalize, pil_to_tensor

from models.backbone.efficientvit.network import EfficientViT_M0
from models.backbone.registry import backbone_class

from .backbones import with_weights_of
from .calls import inference
from .timing import in_turns, milliseconds, ratio, write_result

NAMES = ["efficientvit_m0", "efficientvit_m5", "resnet18", "convnext_atto"]
IMAGE_SIZE, COUNT = 448, 16  # pixels; photographs
TIMED_SIZE, ROUNDS = 640, 201
IMAGENET = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]


def main() -> None:
    """Measure, print and write as JSON."""
    if len(sys.argv) != 2:
        raise SystemExit("give a folder with photographs: python -m benchmarks.normalization path/to/photographs")
    images = photographs(Path(sys.argv[1]))
    rows = [errors(name, images) for name in NAMES]
    for row in rows:
        print(row)
    cost = cost_of_normalising()
    print(cost)
    write_result("normalization", rows, image_size=IMAGE_SIZE, photographs=COUNT, timm=timm.__version__, cost=cost)


def photographs(folder: Path) -> Tensor:
    """Return the first photographs of a folder, `(COUNT, 3, 448, 448)` from 0 to 1."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[:COUNT]
    if len(paths) < COUNT:
        raise SystemExit(f"{folder} holds {len(paths)} photographs; {COUNT} are needed")
    opened = (Image.open(path).convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE)) for path in paths)
    return torch.stack([pil_to_tensor(image) / 255 for image in opened])


def errors(name: str, images: Tensor) -> dict[str, Any]:
    """Return the distance of each map from timm's, with and without normalisation; see `distance`."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": IMAGE_SIZE} if name.startswith("efficientvit") else {}
    reference: Any = timm.create_model(name, features_only=True, **options)
    plain: Any = timm.create_model(name)
    cfg = plain.pretrained_cfg
    normalised = normalize(images, cfg["mean"], cfg["std"])
    gather_statistics(reference, normalised)
    with torch.no_grad():
        expected = reference(normalised[:4])[-3:]
        found = {
            how: ours(name, reference, [list(cfg["mean"]), list(cfg["std"])] if how == "normalised" else False)
            for how in ("normalised", "as they are")
        }
        return {
            "model": name,
            **{how: [distance(*pair) for pair in zip(net(images[:4]), expected)] for how, net in found.items()},
        }


def gather_statistics(network: nn.Module, images: Tensor) -> None:
    """Scale every branch away from zero, and give batch norms the statistics of the images."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = None  # a plain average over the batches
    with torch.no_grad():
        for batch in images.split(4):
            network(batch)
    network.eval()


def ours(name: str, reference: Any, normalization: Any) -> nn.Module:
    """Return our backbone with the reference's weights, in eval mode."""
    if name.startswith("efficientvit"):
        return with_weights_of(reference, f"EfficientViT_{name[-2:].upper()}", normalization)
    backbone: Any = backbone_class("TimmBackbone")(3, name, normalize=normalization)
    backbone.net.load_state_dict(reference.state_dict(), strict=False)
    return backbone.eval()


def distance(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference of two maps, relative to the norm of the expected one."""
    return float((found - expected).norm() / expected.norm())


def cost_of_normalising() -> dict[str, Any]:
    """Return the milliseconds of M0 fused, with and without normalisation, and the ratio of the two."""
    image = torch.rand(1, 3, TIMED_SIZE, TIMED_SIZE)
    networks = {"normalising": EfficientViT_M0(normalize=IMAGENET), "plain": EfficientViT_M0()}
    seconds = in_turns({how: inference(net.eval().fuse(), image) for how, net in networks.items()}, ROUNDS)
    times = {f"{how} ms": milliseconds(taken) for how, taken in seconds.items()}
    return {**times, "ratio": ratio(seconds, "normalising", "plain")}


if __name__ == "__main__":
    main()
