"""The comparison of feature maps, outputs and gradients that all tests, probes and benchmarks use.

A script that runs inside a checkout puts this folder on `sys.path` and imports `compare_maps`. Of other packages it
needs only torch.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping

import torch
from torch import Tensor


def largest_error(found: Any, expected: Any, scale: float | None = None) -> float:
    """Return the largest difference of two lists of maps, relative to the largest absolute value of each expected map.

    Args:
        found: maps of any shape: a tensor or a NumPy array, a list or tuple of them, or a dict of them by name.
        expected: as many maps, under the same names, of the same shapes and dtypes.
        scale: what all differences are relative to instead; 1 gives absolute differences.

    Raises:
        AssertionError: the maps cannot be compared, see `pairs`; or an expected map is all zeros, and no scale is given.
    """
    return max(error_of_map(*pair, scale) for pair in pairs(found, expected))


def assert_same(found: Any, expected: Any) -> None:
    """Raise an AssertionError that names the first map that differs, if only in one bit; arguments as above."""
    for name, one, other in pairs(found, expected):
        differing = int((one != other).sum())
        if differing:
            raise AssertionError(f"map {name}: {differing} of {other.numel()} values differ")


def error_of_map(name: str, found: Tensor, expected: Tensor, scale: float | None) -> float:
    """Return the largest difference of one map."""
    if scale is None:
        scale = expected.double().abs().max().item()
        if scale == 0:
            raise AssertionError(f"map {name}: all expected values are zero, so no error is relative to them")
    return (found.double() - expected.double()).abs().max().item() / scale


def pairs(found: Any, expected: Any) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name or number, the found and the expected map of each pair.

    Raises:
        AssertionError: there are no maps, or other ones on one side; two differ in shape or dtype; one is empty, or
            holds a NaN or an infinity.
    """
    ones, others = by_name(found), by_name(expected)
    if not others:
        raise AssertionError("there are no expected maps")
    if ones.keys() != others.keys():
        missing, unexpected = ([name for name in a if name not in b][:8] for a, b in ((others, ones), (ones, others)))
        counts = f"{len(ones)} maps found, {len(others)} expected"
        raise AssertionError(f"{counts}; missing: {missing or 'none'}, unexpected: {unexpected or 'none'}")
    for name, other in others.items():
        one = ones[name]
        for what in ("shape", "dtype"):
            if getattr(one, what) != getattr(other, what):
                raise AssertionError(f"map {name}: {what} {getattr(one, what)}, expected {getattr(other, what)}")
        if other.numel() == 0:
            raise AssertionError(f"map {name}: it is empty, its shape is {tuple(other.shape)}")
        for side, values in (("found", one), ("expected", other)):
            if not values.isfinite().all():
                raise AssertionError(f"map {name}: the {side} values are not all finite")
        yield name, one, other


def by_name(maps: Any) -> dict[str, Tensor]:
    """Return the maps as tensors without gradient, by their names or numbers."""
    if not isinstance(maps, Mapping):
        maps = dict(enumerate([maps] if hasattr(maps, "dtype") else maps))
    return {str(name): torch.as_tensor(values).detach() for name, values in maps.items()}
