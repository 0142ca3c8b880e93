"""The index rule: how many layer indices a backbone takes, and which of them hold its maps.

A YOLOv5 yaml numbers its layers, and `from` refers to these numbers. A backbone is one module, but takes one index per
feature map, and at least five, the number of stages of a backbone of stride 32. Its maps fill the last of them; the
others are empty. Three maps of stride 8, 16 and 32 at the top of a yaml are 2, 3 and 4.
"""

from __future__ import annotations

from typing import Sequence, TypeVar

T = TypeVar("T")

MIN_INDICES = 5


def index_count(num_maps: int) -> int:
    """Return how many layer indices a backbone with `num_maps` feature maps takes."""
    return max(MIN_INDICES, num_maps)


def fill_indices(per_map: Sequence[T]) -> list[T | None]:
    """Return one entry per index of a backbone: None for empty ones, then the entries of `per_map`.

    >>> fill_indices([64, 128, 192])
    [None, None, 64, 128, 192]
    """
    return [None] * (index_count(len(per_map)) - len(per_map)) + list(per_map)
