"""The order of a detector's boxes, for the scripts that run inside a checkout."""

import torch


def by_cell(boxes, strides, height, width):
    """Put PyTorch's boxes, which go by anchor and then by cell of a level, into TensorFlow's order: cell, then anchor."""
    levels = [height // int(stride) * (width // int(stride)) for stride in strides]
    per_level = boxes.split([3 * cells for cells in levels], 1)
    parts = [part.reshape(1, 3, cells, -1).transpose(1, 2).flatten(1, 2) for part, cells in zip(per_level, levels)]
    return torch.cat(parts, 1)
