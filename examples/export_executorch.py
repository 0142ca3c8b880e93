"""Export a detector for ExecuTorch, with its XNNPACK backend; runs in the folder of a YOLOv5 checkout.

    python export_executorch.py PACKAGE_PREFIX WEIGHTS.pt HEIGHT WIDTH MODEL.pte

PACKAGE_PREFIX is '' in a clone; it is yolov5. with its dot in the folder that holds the pip package.
"""

import importlib
import sys

if len(sys.argv) != 6:
    sys.exit(__doc__)
try:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
except ImportError as error:
    sys.exit(f"this Python cannot use ExecuTorch: {error}. Run: python -m pip install executorch")

prefix, weights, *size, model = sys.argv[1:]
sys.path.insert(0, "")  # the current folder; Python puts the script's folder there
try:
    experimental = importlib.import_module(f"{prefix}models.experimental")
except ModuleNotFoundError as error:
    sys.exit(f"YOLOv5 cannot be imported here: {error}. Run this in the folder of the checkout, with its requirements")
detector = experimental.attempt_load(weights, torch.device("cpu"))
stride = int(detector.stride.max())
if not all(side.isdecimal() and int(side) > 0 and int(side) % stride == 0 for side in size):
    sys.exit(
        f"this detector takes no images of {'x'.join(size)} pixels: give a height and a width of multiples of {stride}"
    )
detector.model[-1].export = True  # Detect then returns only boxes
for parameter in detector.parameters():
    parameter.detach_()  # YOLOv5's fusing leaves an autograd history, which torch.export rejects
image = torch.zeros(1, 3, *map(int, size))
with torch.no_grad():
    detector(image)  # computes the grid of this size
program = torch.export.export(detector, (image,), strict=False)
edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
with open(model, "wb") as file:
    file.write(edge.to_executorch().buffer)
