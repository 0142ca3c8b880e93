"""Captures maps and attention of a backbone in a forward pass of its detector.

Hooks are registered for this pass only, so they cost nothing otherwise.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import torch
from torch import Tensor, nn

from ..contract import Backbone
from ..efficientvit.network import EfficientViT
from ..efficientvit.windows import WINDOW


class FeatureMap(NamedTuple):
    """One map of a backbone: the norm over its channels, `(rows, columns)`."""

    stride: int
    channels: int
    norm: Tensor

    def strongest_cell(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float]:
        """Return the centre, x and y in pixels of the image, of the cell with the largest norm inside a rectangle."""
        rows, columns = (self.stride * (torch.arange(cells) + 0.5) for cells in self.norm.shape)
        inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))
        norm = self.norm.masked_fill(~inside, -1.0)
        row, column = divmod(int(norm.argmax()), norm.shape[1])
        return float(columns[column]), float(rows[row])


class BlockAttention(NamedTuple):
    """The attention of one block; `probabilities` is the result of `CascadedGroupAttention` for one image."""

    stage: int  # counted from 1, like the block
    block: int
    stride: int
    probabilities: Tensor

    def window_at(self, x: float, y: float) -> Window:
        """Return the attention of the cell at a point of the image, in pixels."""
        column, row = int(x // self.stride), int(y // self.stride)
        token = row % WINDOW * WINDOW + column % WINDOW
        heads = self.probabilities[row // WINDOW, column // WINDOW, :, token].reshape(-1, WINDOW, WINDOW)
        corner = (column // WINDOW * WINDOW, row // WINDOW * WINDOW)
        return Window(self.stage, self.block, self.stride, corner, (column, row), heads)


class Window(NamedTuple):
    """The attention of one cell in its window.

    Attributes:
        corner: column and row, in the map, of the window's first cell.
        query: column and row of the query cell.
        heads: the probabilities by which each head weights the cells of the window, `(heads, 7, 7)`.
    """

    stage: int
    block: int
    stride: int
    corner: tuple[int, int]
    query: tuple[int, int]
    heads: Tensor


class StopForward(Exception):  # noqa: N818 - nothing is wrong
    """Ends a forward pass after the backbone; the other layers are not needed."""


def backbones_of(model: nn.Module) -> list[Backbone]:
    """Return the backbones in a detector."""
    return [module for module in model.modules() if isinstance(module, Backbone)]


def blocks_of(backbone: Backbone, stage: int | None = None) -> list[tuple[int, int, Any]]:
    """Return attention modules of a backbone with the numbers of their stages and blocks, counted from 1.

    Args:
        backbone: any; only EfficientViT has such modules.
        stage: return all blocks of this stage; the last block of each stage if None.

    Raises:
        ValueError: there is no such stage.
    """
    stages: Sequence[Any] = backbone.stages if isinstance(backbone, EfficientViT) else ()  # type: ignore[assignment]
    if stage is not None and not 1 <= stage <= len(stages):
        there = f"its stages are 1 to {len(stages)}" if stages else "it has no attention that can be shown"
        raise ValueError(f"--stage {stage}: the backbone is {type(backbone).__name__}, and {there}")
    chosen = []
    for number, layers in enumerate(stages, 1):
        blocks = [(number, position, block.attention) for position, block in enumerate(layers.blocks, 1)]
        if stage is None:
            chosen.append(blocks[-1])
        elif stage == number:
            chosen += blocks
    return chosen


def capture(
    model: nn.Module, backbone: Backbone, image: Tensor, blocks: Sequence[tuple[int, int, Any]]
) -> tuple[list[FeatureMap], list[BlockAttention]]:
    """Return the maps of a backbone, and the attention of some of its blocks, finest first.

    Args:
        model: the detector, of which only the layers up to the backbone run.
        backbone: one of its modules.
        image: `(1, C, H, W)`.
        blocks: as `blocks_of` gives them.
    """
    maps: list[Tensor] = []
    probabilities: dict[int, Tensor] = {}

    def keep_maps(_module: nn.Module, _inputs: Any, outputs: Sequence[Tensor]) -> None:
        maps.extend(outputs)
        raise StopForward

    def keep_probabilities(module: Any, inputs: tuple[Tensor]) -> None:
        probabilities[id(module)] = module.probabilities(inputs[0])[0]

    hooks = [backbone.register_forward_hook(keep_maps)]
    hooks += [attention.register_forward_pre_hook(keep_probabilities) for _, _, attention in blocks]
    try:
        with torch.no_grad():
            model(image)
    except StopForward:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    # pixels of the image per cell, also if layers before the backbone have reduced it
    strides = [max(1, round(image.shape[3] / feature_map.shape[3])) for feature_map in maps]
    norms = [torch.linalg.norm(feature_map[0], dim=0) for feature_map in maps]
    feature_maps = [FeatureMap(stride, m.shape[1], norm) for stride, m, norm in zip(strides, maps, norms)]
    attention = [
        BlockAttention(stage, block, strides[stage - 1], probabilities[id(module)]) for stage, block, module in blocks
    ]
    return feature_maps, attention
