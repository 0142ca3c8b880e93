"""Run with the patched pip package on the path: python run_sahi.py WEIGHTS.pt PHOTOGRAPH CONFIDENCE SLICE RESULT.npy

Writes the boxes that the package finds in each slice of the photograph by itself, moved to where the slice lies.
"""

import sys

import numpy as np
import yolov5
from PIL import Image
from sahi.slicing import get_slice_bboxes

weights, photograph, confidence, size, result = sys.argv[1:]
image = np.array(Image.open(photograph))
model = yolov5.load(weights)
model.conf = float(confidence)
found = []
for left, top, right, bottom in get_slice_bboxes(*image.shape[:2], slice_height=int(size), slice_width=int(size)):
    boxes = model(image[top:bottom, left:right]).xyxy[0].numpy()
    found.append(boxes + np.float32([left, top, left, top, 0, 0]))
assert len(found) > 1
np.save(result, np.concatenate(found))
