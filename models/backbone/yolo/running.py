"""Running and fusing backbones in YOLOv5's forward pass."""

from __future__ import annotations

from typing import Any, Iterable, Sequence

from torch import Tensor, nn

from ..contract import Backbone
from .index_rule import fill_indices


def unpack_maps(layer: Any, maps: Sequence[Tensor], outputs: list[Tensor | None], save: Iterable[int]) -> Tensor:
    """Append the entries of a backbone's indices to the host's `outputs`, except for the last, which is returned.

    Maps that no later layer reads (whose index is not in `save`) are dropped, as the host does.
    """
    *earlier, last = fill_indices(maps)
    first = len(outputs)
    outputs.extend(feature_map if index in save else None for index, feature_map in enumerate(earlier, first))
    assert last is not None
    return last


def fuse_backbones(layers: Iterable[nn.Module]) -> None:
    """Fuse every backbone among the host's layers."""
    for layer in layers:
        if isinstance(layer, Backbone):
            layer.fuse()
