"""What features lose by images that are not normalised, on photographs, and what normalising costs.

`.venv/bin/python -m benchmarks.normalization path/to/photographs` writes results/normalization.json. The networks have
random weights, and batch norms with the statistics of the photographs as their published weights want them.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import normalize, pil_to_tensor

from models.backbone.efficientvit.network import EfficientViT_M0
from models.backbone.registry import backbone_class

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
    """Return the distance of each map from timm's, relative to its length, with and without normalisation."""
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
    """Let every branch count, and give batch norms the statistics of the images."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = None  # their average
    with torch.no_grad():
        for batch in images.split(4):
            network(batch)
    network.eval()


def ours(name: str, reference: Any, normalization: Any) -> nn.Module:
    """Return our backbone with the reference's weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.pth")
        if name.startswith("efficientvit"):
            # its names are joined by underscores
            torch.save(
                {re.sub("^(patch_embed|stages)_", r"\1.", key): t for key, t in reference.state_dict().items()}, path
            )
            build = backbone_class(f"EfficientViT_{name[-2:].upper()}")
            return build(weights=str(path), stem_stride=16, normalize=normalization).eval()
        backbone: Any = backbone_class("TimmBackbone")(3, name, normalize=normalization)
        backbone.net.load_state_dict(reference.state_dict(), strict=False)
        return backbone.eval()


def distance(found: Tensor, expected: Tensor) -> float:
    """Return how far a map is from another, relative to the other's length."""
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
