"""Describes how the tensors of a checkpoint differ from those of a network."""

from __future__ import annotations

from typing import Mapping

from torch import Tensor


def mismatch(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Return which tensors of `state` are missing, unexpected, or of another shape than expected; "" if none is."""
    problems = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(expected[key].shape)}"
            for key in sorted(expected.keys() & state.keys())
            if expected[key].shape != state[key].shape
        ],
    }
    return "; ".join(f"{len(names)} {problem}: {first_names(names)}" for problem, names in problems.items() if names)


def first_names(names: list[str], limit: int = 8) -> str:
    """Return the first names of a list, and how many more there are."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
