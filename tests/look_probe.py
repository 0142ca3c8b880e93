"""Run inside a patched YOLOv5 checkout, in a process of its own: looks at detectors of it, and writes JSON.

Use: python look_probe.py PACKAGE_PREFIX ROOT FOLDER
"""

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from compare_maps import largest_error

PREFIX, ROOT, FOLDER = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
yolo = importlib.import_module(f"{PREFIX}models.yolo")
experimental = importlib.import_module(f"{PREFIX}models.experimental")
augmentations = "augmentations" if (ROOT / "utils" / "augmentations.py").is_file() else "datasets"  # up to v5.0
utils = importlib.import_module(f"{PREFIX}utils.{augmentations}")
command = importlib.import_module(f"{PREFIX}models.backbone.__main__")
ours = importlib.import_module(f"{PREFIX}models.backbone.looking.letterbox")
capturing = importlib.import_module(f"{PREFIX}models.backbone.looking.capture")
SIZES = [(416, 234), (234, 416), (640, 640), (1, 500), (333, 517), (1080, 1919)]


def letterboxes_differ(height, width):
    """Return how many values of an image differ from those that YOLOv5's detect.py makes of it."""
    blue_first = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    if round(640 / width * height) == 0:
        return 0 if ours.letterbox(blue_first, 640, 32).image.shape[2] == 32 else -1  # YOLOv5 fails
    expected = utils.letterbox(blue_first, 640, stride=32, auto=True)[0][..., ::-1].transpose(2, 0, 1)
    found = ours.letterbox(np.ascontiguousarray(blue_first[..., ::-1]), 640, 32).image[0].numpy()
    return int((np.float32(expected) / np.float32(255) != found).sum())


def look(model, name, *options):
    """Save a model as train.py does, and return the exit code, what was printed, and whether there is a picture."""
    torch.save({"epoch": -1, "model": model, "ema": None}, FOLDER / f"{name}.pt")
    picture, out, err = FOLDER / f"{name}.png", io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        arguments = [FOLDER / f"{name}.pt", FOLDER / "photo.jpg", "--output", picture, "--img-size", 160, *options]
        code = command.main(["look", *map(str, arguments)])
    return [code, out.getvalue() + err.getvalue(), picture.is_file()]


def map_error(model):
    """Return how far the maps that are drawn are from those that the neck reads in the host's own forward pass."""
    image = torch.rand(1, 3, 96, 128)
    (backbone,) = capturing.backbones_of(model)
    found, _ = capturing.capture(model, backbone, image, capturing.blocks_of(backbone))
    read = {}
    hook = backbone.register_forward_hook(lambda module, inputs, maps: read.update(maps=[m.clone() for m in maps]))
    with torch.no_grad():
        model(image)
    hook.remove()
    return largest_error([m.norm for m in found], [m[0].norm(dim=0) for m in read["maps"]])


photo = cv2.resize(np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8), (200, 120))
assert cv2.imwrite(str(FOLDER / "photo.jpg"), photo)
torch.manual_seed(0)
detector = yolo.Model(str(ROOT / "models" / "yolov5-efficientvit.yaml"), nc=2)
result = {
    "letterboxes": [letterboxes_differ(*size) for size in SIZES],
    "half": look(detector.half(), "half", "--cell", 100, 60),
    "fused": look(experimental.attempt_load(str(FOLDER / "half.pt")), "fused"),
    "maps": map_error(experimental.attempt_load(str(FOLDER / "half.pt"))),
    "stock": look(yolo.Model(str(ROOT / "models" / "yolov5s.yaml"), nc=2), "stock"),
}
segment = ROOT / "models" / "segment" / "yolov5-efficientvit-seg.yaml"
if segment.is_file():
    result["segmentation"] = look(yolo.SegmentationModel(str(segment), nc=2), "segmentation")
(FOLDER / "result.json").write_text(json.dumps(result))
