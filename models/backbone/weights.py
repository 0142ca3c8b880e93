"""Checkpoints of EfficientViT: read without running anything in them, and load whole or not at all.

Understood is the layout of the published checkpoints (classifier or detector, under "model" or bare) and that of this
package's own `state_dict()`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import WINDOW

# Published names, and what they are here. A stage's first three entries are its downsampling, the rest its blocks.
PUBLISHED_NAMES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^patch_embed\.([0246])\.", lambda m: f"stem.conv{int(m[1]) // 2 + 1}."),
    (r"^blocks1\.(\d+)\.", r"stages.0.blocks.\1."),
    (r"^blocks([23])\.([02])\.0\.m\.", lambda m: f"stages.{int(m[1]) - 1}.downsample.depthwise{int(m[2]) // 2 + 1}."),
    (
        r"^blocks([23])\.([02])\.1\.m\.",
        lambda m: f"stages.{int(m[1]) - 1}.downsample.feed_forward{int(m[2]) // 2 + 1}.",
    ),
    (r"^blocks([23])\.1\.", lambda m: f"stages.{int(m[1]) - 1}.downsample.merging."),
    (r"^blocks([23])\.(\d+)\.", lambda m: f"stages.{int(m[1]) - 1}.blocks.{int(m[2]) - 3}."),
    (r"\.dw([01])\.m\.", lambda m: f".depthwise{int(m[1]) + 1}."),
    (r"\.ffn([01])\.m\.", lambda m: f".feed_forward{int(m[1]) + 1}."),
    (r"\.pw1\.", ".expand."),
    (r"\.pw2\.", ".project."),
    (r"\.mixer\.m\.attn\.", ".attention."),
    (r"\.(attention_biases|bias_table)$", ".bias"),
    (r"\.qkvs\.", ".qkv."),
    (r"\.dws\.", ".query_depthwise."),
    (r"\.proj\.1\.", ".project."),
    (r"\.merging\.conv1\.", ".merging.expand."),
    (r"\.merging\.conv2\.", ".merging.depthwise."),
    (r"\.merging\.conv3\.", ".merging.project."),
    (r"\.se\.fc1\.", ".squeeze_excite.reduce."),
    (r"\.se\.fc2\.", ".squeeze_excite.expand."),
    (r"\.c\.", ".conv."),
]
NOT_BACKBONE = re.compile(r"^(head|head_dist)\.|\.attention_bias_idxs$")  # the classifier, and an index we compute


def load_checkpoint(path: str) -> dict[str, Tensor]:
    """Read a checkpoint's tensors under the names of this package, bias tables resized to 7x7 windows.

    The last stage of the published classifiers was trained with 4x4 windows; its bias tables are resized head by head,
    bicubic, as the paper's authors do for detection.

    Raises:
        ValueError: there is no such file, or it holds no checkpoint that can be read without running code in it.
    """
    if not Path(path).is_file():
        raise ValueError(f"the weights file {path} does not exist; correct the path in the yaml or leave weights ''")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"the weights file {path} cannot be read safely as a checkpoint ({type(error).__name__}: {error}); "
            "it may be damaged, an HTML page saved in its place, or hold more than tensors"
        ) from error
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else loaded
    if not (isinstance(state, dict) and state and all(isinstance(value, Tensor) for value in state.values())):
        raise ValueError(f'the weights file {path} holds no tensors by name, neither bare nor under "model"')
    return {our_name(name): resized(value, name) for name, value in state.items() if not NOT_BACKBONE.search(name)}


def our_name(name: str) -> str:
    """Return what a tensor of a published checkpoint is called here; our own names stay what they are."""
    for pattern, replacement in PUBLISHED_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def resized(value: Tensor, name: str) -> Tensor:
    """Return an attention-bias table `(heads, n * n)` as `(heads, 49)`; any other tensor as it is, 2-D ones as 1x1."""
    if name.endswith(("attention_biases", "bias_table", "attention.bias")) and value.shape[1] != WINDOW**2:
        side = round(value.shape[1] ** 0.5)
        table = value.float().reshape(1, -1, side, side)
        return F.interpolate(table, (WINDOW, WINDOW), mode="bicubic", align_corners=False).flatten(2)[0]
    if value.dim() == 2 and name.endswith(".weight"):
        return value[:, :, None, None]
    return value


def query_kernels_of(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the kernel size of each head's query convolution, as the checkpoint has them; empty without any."""
    kernels = {}
    for name, value in state.items():
        found = re.search(r"\.query_depthwise\.(\d+)\.conv\.weight$", name)
        if found:
            kernels[int(found[1])] = value.shape[-1]
    return tuple(kernels[head] for head in sorted(kernels))


def load_all(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load every tensor of `state` into `module`.

    Raises:
        ValueError: a tensor is missing, left over or of another shape. Nothing is loaded then.
    """
    own = module.state_dict()
    problems = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "of another shape": [
            f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
            for name in own.keys() & state.keys()
            if own[name].shape != state[name].shape
        ],
    }
    if any(problems.values()):
        told = "; ".join(f"{len(names)} {what}: {', '.join(names[:4])}" for what, names in problems.items() if names)
        raise ValueError(f"the weights in {source} are not those of {type(module).__name__}: {told}")
    module.load_state_dict(state)
