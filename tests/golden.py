"""The published layouts and the reference implementation's features, in `tests/data`.

No weights are stored: a rule makes every tensor from its published name and shape, and every image from a seed.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"
LAYOUTS = json.loads((DATA / "golden_checkpoints.json").read_text())
FEATURES = np.load(DATA / "golden_features.npz")
SIZES = ((256, 320), (224, 640))


def tensor(name, shape):
    state = np.random.RandomState(zlib.crc32(name.encode()))
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if leaf == "running_var":
        values = state.uniform(0.5, 1.5, shape)
    elif leaf == "attention_biases":
        values = state.standard_normal(shape) * 0.5
    elif leaf == "weight" and len(shape) == 1:
        values = state.uniform(*((1.2, 1.8) if ".qkvs." in name or ".dws." in name else (0.2, 0.6)), shape)
    elif leaf == "weight":
        values = state.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    else:
        values = state.standard_normal(shape) * 0.1
    return torch.from_numpy(values.astype(np.float32))


def checkpoint(layout):
    """Return the tensors of a published checkpoint, by the layout's name such as `detector/m0`."""
    return {name: tensor(name, tuple(shape)) for name, shape in LAYOUTS["shapes"][layout].items()}


def image(height, width, variant):
    pixels = np.random.RandomState(variant).uniform(0, 1, (1, 3, height, width))
    return torch.from_numpy(pixels.astype(np.float32))


def features(layout, height, width, stride):
    """Return the maps of channels 0, C // 3, 2C // 3 and C - 1, and the mean of every channel."""
    key = f"{layout}/{height}x{width}/stride{stride}"
    return FEATURES[f"{key}/channels"], FEATURES[f"{key}/mean"]
