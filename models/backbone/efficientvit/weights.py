"""Checkpoints of EfficientViT under the names of this package, loaded whole or not at all.

The known layouts are those of the paper's authors (classifier or detector), of timm's `efficientvit_m0` to `m5`, and of
this package's own `state_dict()`, with any prefix: of a backbone alone, or inside a whole detector.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Collection, Iterator, Literal, Mapping, NamedTuple, NoReturn

import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints.compare import mismatch
from ..checkpoints.read import fetch_from_timm, read_file
from ..checkpoints.wrapped import Candidate, candidate_below, choose
from ..normalization import IMAGENET, NEUTRAL, Statistics, statistics_from_buffers
from .windows import WINDOW

# Regular expressions for published names, and their replacements; each rule is applied to the result of the last.
RULES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    # the authors': a stage's first three entries are its downsampling, the rest its blocks
    (r"^patch_embed\.([0246])\.", lambda m: f"stem.conv{int(m[1]) // 2 + 1}."),
    (r"^blocks1\.(\d+)\.", r"stages.0.blocks.\1."),
    (r"^blocks([23])\.([02])\.", lambda m: f"stages.{int(m[1]) - 1}.downsample.res{int(m[2]) // 2 + 1}."),
    (r"^blocks([23])\.1\.", lambda m: f"stages.{int(m[1]) - 1}.downsample.patchmerge."),
    (r"^blocks([23])\.(\d+)\.", lambda m: f"stages.{int(m[1]) - 1}.blocks.{int(m[2]) - 3}."),
    (r"\.c\.", ".conv."),
    # timm's, and by now the authors'
    (r"^patch_embed\.", "stem."),
    (r"\.res([12])\.0\.m\.", r".depthwise\1."),
    (r"\.res([12])\.1\.m\.", r".feed_forward\1."),
    (r"\.patchmerge\.conv1\.", ".merging.expand."),
    (r"\.patchmerge\.conv2\.", ".merging.depthwise."),
    (r"\.patchmerge\.se\.fc1\.", ".merging.squeeze_excite.reduce."),
    (r"\.patchmerge\.se\.fc2\.", ".merging.squeeze_excite.expand."),
    (r"\.patchmerge\.conv3\.", ".merging.project."),
    (r"\.dw([01])\.m\.", lambda m: f".depthwise{int(m[1]) + 1}."),
    (r"\.ffn([01])\.m\.", lambda m: f".feed_forward{int(m[1]) + 1}."),
    (r"\.pw1\.", ".expand."),
    (r"\.pw2\.", ".project."),
    (r"\.mixer\.m\.attn\.", ".attention."),
    (r"\.qkvs\.", ".qkv."),
    (r"\.dws\.", ".query_depthwise."),
    (r"\.proj\.1\.", ".project."),
    # bias_table: an earlier name of this package, which some releases of YOLOv5 do not train
    (r"\.(attention_biases|bias_table)$", ".bias"),
]
CLASSIFIER = re.compile(r"^head(_dist)?\.")
COMPUTED = re.compile(r"\.(attention_bias_idxs|offset_index)$")
STEM = re.compile(r"^((?:.*\.)?)(?:stem\.conv\d|patch_embed\.(?:conv)?\d)\.")  # after the prefix, if there is one
MIT_LAYERS = re.compile(r"(^|\.)(context_module|local_module|op_list|in_conv)\.")
FIRST_CONV = "stem.conv1.conv.weight"
MEAN, STD = "normalization.mean", "normalization.std"
IN_YOLOV5 = re.compile(r"^(?:.*\.)?model\.\d+\.$")  # a prefix inside a detector


class Checkpoint(NamedTuple):
    """A backbone's tensors under this package's names, and where they come from.

    Attributes:
        source: the file or model, for messages.
        state: the tensors.
        statistics: mean and deviation of the images that they were trained on.
        resized: how many attention biases were resized to this package's windows.
        classifier_tensors: how many tensors of a classifier were left out.
        other_tensors: how many tensors outside the backbone were left out.
    """

    source: str
    state: dict[str, Tensor]
    statistics: Statistics
    resized: int
    classifier_tensors: int
    other_tensors: int

    def summary(self, adaptation: str) -> str:
        """Return one line on what was loaded, resized and left out; `adaptation` is inserted into it."""
        left_out = [(self.classifier_tensors, "of the classifier head"), (self.other_tensors, "of other layers")]
        without = " and ".join(f"{count} {which}" for count, which in left_out if count) or "none"
        resized = f", {self.resized} attention biases resized to {WINDOW}x{WINDOW} windows" if self.resized else ""
        return f"{len(self.state)} tensors loaded from {self.source}{resized}{adaptation}, left out: {without}"


def load_checkpoint(weights: str | Path | Literal[True], timm_name: str, wanted: Collection[str]) -> Checkpoint:
    """Read a checkpoint of a backbone.

    Args:
        weights: the path of a file, or True for timm's ImageNet weights.
        timm_name: what timm calls the network, for example `efficientvit_m0`.
        wanted: the names of the network's tensors here.

    Raises:
        ValueError: the file cannot be fetched or read, or holds no backbone of this kind, or only a fused one.
    """
    if weights is True:
        source, places = fetch_from_timm(timm_name)
    else:
        source, places = str(weights), read_file(Path(weights))
    candidates = [found for place, tensors in places.items() for found in backbones_in(place, tensors, wanted)]
    if not candidates:
        refuse({name: value for tensors in places.values() for name, value in tensors.items()}, source)
    found = choose(candidates, len(wanted), source)
    if len(candidates) > 1:
        source = f"{source} ({found.describe()})"
    inside, prefix = found.tensors, found.prefix
    if any(key.endswith("attention.value_bias") for key in inside):
        raise ValueError(
            f"{source} holds a fused backbone, whose batch norms and biases are folded away for inference, for good; "
            "take a checkpoint from before fuse(), such as best.pt as YOLOv5 saved it"
        )
    statistics = training_statistics(inside, prefix)
    kept = {our_name(k): v for k, v in inside.items() if not (CLASSIFIER.search(k) or COMPUTED.search(k))}
    state = {key: convert(key, value) for key, value in kept.items()}
    return Checkpoint(
        source,
        {key: value for key, value in state.items() if key not in (MEAN, STD)},
        statistics,
        resized=sum(state[key].numel() != value.numel() for key, value in kept.items()),
        classifier_tensors=sum(bool(CLASSIFIER.search(key)) for key in inside),
        other_tensors=found.others,
    )


def backbones_in(place: str, tensors: Mapping[str, Tensor], wanted: Collection[str]) -> Iterator[Candidate]:
    """Yield the backbones among the tensors of one place in a file, one for each prefix."""
    for prefix in sorted({stem[1] for stem in map(STEM.match, tensors) if stem}):
        found = candidate_below(place, prefix, tensors)
        yield found._replace(matched=len({our_name(name) for name in found.tensors} & set(wanted)))


def refuse(tensors: Mapping[str, Tensor], source: str) -> NoReturn:
    """Raise the error about a file that holds no backbone of this kind.

    Raises:
        ValueError: always; the message says what the file holds instead.
    """
    if any(map(MIT_LAYERS.search, tensors)):
        raise ValueError(
            f"{source} holds the EfficientViT of MIT (arXiv 2205.14756), another network of the same name; these "
            "backbones are M0 to M5 of arXiv 2305.07027, in timm efficientvit_m0 to efficientvit_m5"
        )
    raise ValueError(
        f"{source} holds no EfficientViT backbone: its {len(tensors)} tensors are named {', '.join(list(tensors)[:3])} "
        "and the like; give a checkpoint of efficientvit_m0 to m5, or of a detector with such a backbone"
    )


def training_statistics(tensors: Mapping[str, Tensor], prefix: str) -> Statistics:
    """Return the statistics of the images that a backbone was trained on.

    This network stores them. Published weights were trained with ImageNet's statistics. A detector of YOLOv5, whose
    layers are numbered, was trained on images from 0 to 1, and so was this network before it stored statistics.

    Args:
        tensors: those of the backbone, without the prefix.
        prefix: of their names in the file.
    """
    if MEAN in tensors and STD in tensors:
        return statistics_from_buffers(tensors[MEAN], tensors[STD])
    is_own = not any(our_name(key) != key for key in tensors if not CLASSIFIER.search(key))
    return NEUTRAL if is_own or IN_YOLOV5.match(prefix) else IMAGENET


def our_name(name: str) -> str:
    """Return the name in this package of a tensor of a published checkpoint; our own names are unchanged."""
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name


def convert(name: str, value: Tensor) -> Tensor:
    """Return a tensor in its shape here: attention biases as `(heads, 49)`, linear weights as 1x1 convolutions.

    The last stage of the published classifiers was trained with 4x4 windows. Its biases, `(heads, 16)`, are resized per
    head by bicubic interpolation, as the paper's authors do for detection.
    """
    if name.endswith(".attention.bias") and value.dim() == 2:
        side = round(value.shape[1] ** 0.5)
        if side not in (0, WINDOW) and side * side == value.shape[1]:
            table = value.float().reshape(1, -1, side, side)
            return F.interpolate(table, (WINDOW, WINDOW), mode="bicubic", align_corners=False).flatten(2)[0]
    if name.endswith(".weight") and value.dim() == 2:
        return value[:, :, None, None]
    return value


def adapt_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Adapt a first convolution's weight `(O, 3, k, k)` to `(O, in_channels, k, k)`, as timm does.

    One channel gets the sum over the three colours; more channels repeat the colours, scaled by 3 / in_channels.
    """
    if in_channels == 1:
        return weight.float().sum(1, keepdim=True)
    repeats = -(-in_channels // 3)
    return weight.float().repeat(1, repeats, 1, 1)[:, :in_channels] * (3 / in_channels)


def query_kernels_of(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the kernel size of each head's query convolution in a checkpoint; empty if there is none."""
    kernels = {}
    for name, value in state.items():
        found = re.search(r"\.query_depthwise\.(\d+)\.conv\.weight$", name)
        if found and value.dim() == 4:
            kernels[int(found[1])] = value.shape[-1]
    return tuple(kernels[head] for head in sorted(kernels))


def widths_of(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the channels of each stage in a checkpoint."""
    first_layers = (state.get(f"stages.{stage}.blocks.0.depthwise1.conv.weight") for stage in range(3))
    return tuple(layer.shape[0] for layer in first_layers if layer is not None and layer.dim())


def load_all(module: nn.Module, checkpoint: Checkpoint) -> str:
    """Load every tensor of the checkpoint into `module`, and return one line about it for the log.

    Raises:
        ValueError: a tensor is missing, left over or of another shape. Nothing is loaded then.
    """
    name, expected, state = type(module).__name__, module.state_dict(), dict(checkpoint.state)
    adaptation = ""
    in_channels = expected[FIRST_CONV].shape[1]
    if in_channels != 3 and FIRST_CONV in state and state[FIRST_CONV].shape[1:2] == (3,):
        state[FIRST_CONV] = adapt_channels(state[FIRST_CONV], in_channels)
        adaptation = f", the first convolution adapted from 3 to {in_channels} channels"
    wrong = mismatch(expected, state)
    if wrong:
        raise ValueError(f"the weights in {checkpoint.source} are not those of {name}: {wrong}")
    module.load_state_dict(state)
    return f"{name}: {checkpoint.summary(adaptation)}"
