"""Run inside a YOLOv5 checkout: compare an exported model with the PyTorch one it came from, and write JSON.

Use: python export_probe.py PACKAGE_PREFIX WEIGHTS.pt EXPORTED IMAGE RESULT.json HEIGHTxWIDTH[xBATCH] ...
"""

import importlib
import json
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from box_order import by_cell
from compare_maps import largest_error

PREFIX, WEIGHTS, EXPORTED, IMAGE, RESULT, *SIZES = sys.argv[1:]
common = importlib.import_module(f"{PREFIX}models.common")
experimental = importlib.import_module(f"{PREFIX}models.experimental")

expected_of = experimental.attempt_load(WEIGHTS, torch.device("cpu"))
exported = common.DetectMultiBackend(EXPORTED, device=torch.device("cpu"))
photograph = cv2.imread(IMAGE)[..., ::-1]


def milliseconds(model, image):
    taken = []
    for _ in range(7):
        start = time.perf_counter()
        model(image)
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


seen = {}
for size in SIZES:
    height, width, *batch = map(int, size.split("x"))
    pixels = cv2.resize(np.ascontiguousarray(photograph), (width, height)).transpose(2, 0, 1)
    image = torch.from_numpy(np.ascontiguousarray(pixels)).float()[None] / 255
    image = torch.cat([image.roll(16 * shift, -1) for shift in range(batch[0] if batch else 1)])
    with torch.no_grad():
        expected = expected_of(image)[0]
        if exported.saved_model or exported.pb or exported.tflite:
            expected = by_cell(expected, expected_of.stride, height, width)
        found = exported(image)
    found = found[0] if isinstance(found, (list, tuple)) else found
    errors = {
        "boxes": largest_error(found[..., :4], expected[..., :4], scale=max(height, width)),  # of the longer side
        "scores": largest_error(found[..., 4:], expected[..., 4:], scale=1),
    }
    seen[size] = {**errors, "ms": milliseconds(exported, image)}
Path(RESULT).write_text(json.dumps(seen))
