"""Run inside a YOLOv5 checkout: python run_pytorch.py PACKAGE_PREFIX WEIGHTS.pt PHOTOGRAPH HEIGHT WIDTH FOLDER

Writes image.npy, the photograph in that size from 0 to 1, `(1, 3, H, W)`, and result.npy, what the detector gives first.
"""

import importlib
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

prefix, weights, photograph, height, width, folder = sys.argv[1:]
pixels = cv2.resize(cv2.imread(photograph)[..., ::-1], (int(width), int(height)))
image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None] / np.float32(255))
detector = importlib.import_module(f"{prefix}models.experimental").attempt_load(weights, torch.device("cpu"))
with torch.no_grad():
    result = detector(torch.from_numpy(image))[0]
np.save(Path(folder, "image.npy"), image)
np.save(Path(folder, "result.npy"), result.numpy())
