"""Run inside a YOLOv5 checkout: python export_executorch.py PACKAGE_PREFIX WEIGHTS.pt HEIGHT WIDTH MODEL.pte"""

import importlib
import sys

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

prefix, weights, height, width, model = sys.argv[1:]
detector = importlib.import_module(f"{prefix}models.experimental").attempt_load(weights, torch.device("cpu"))
detector.model[-1].export = True  # Detect then returns boxes alone
for parameter in detector.parameters():
    parameter.detach_()  # YOLOv5 fuses convolutions in a way that leaves a history, which torch.export refuses
image = torch.zeros(1, 3, int(height), int(width))
with torch.no_grad():
    detector(image)  # the grid of this size
program = torch.export.export(detector, (image,), strict=False)
edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
with open(model, "wb") as file:
    file.write(edge.to_executorch().buffer)
