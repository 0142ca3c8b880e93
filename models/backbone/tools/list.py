"""Lists the backbones that a yaml can name: `python -m models.backbone list [pattern]`, in a patched checkout.

Each line has strides, channels of the maps, and parameters. The pattern is like `convnext*`; without one every model of
timm is built, without storage, which takes some minutes.
"""

from __future__ import annotations

import difflib
import fnmatch
import inspect
import logging
import sys
import warnings
from typing import Iterator, Sequence

from ..efficientvit.network import VARIANTS
from ..registry import backbone_class
from .console import print_error, print_line

USUAL_STRIDES = {8, 16, 32}


def format_row(name: str, strides: Sequence[int], channels: Sequence[int], parameters: int) -> str:
    """Return one row of the list."""
    columns = [f"{stride}: {width}" for stride, width in zip(strides, channels)]
    return f"{name:<44}{parameters / 1e6:>8.1f} M  {', '.join(columns)}"


def own_rows(pattern: str) -> Iterator[str]:
    """Yield a row for each matching backbone of this package."""
    for name in fnmatch.filter(VARIANTS, pattern):
        backbone = backbone_class(name)(3)
        yield format_row(name, backbone.strides, backbone.channels, sum(p.numel() for p in backbone.parameters()))


def timm_rows(pattern: str, others: list[str]) -> Iterator[str]:
    """Yield a row for each matching model of timm with strides 8, 16 and 32; append the other names to `others`."""
    warnings.simplefilter("ignore")  # of deprecations inside timm

    from ..timm_backbone.plan import feature_scout, levels_of

    logging.getLogger("timm").setLevel(logging.ERROR)
    for name in timm_names(pattern):
        try:
            scout = feature_scout(name)
        except ValueError:
            others.append(f"{name} (no feature maps)")
            continue
        levels = {level.stride: level.channels for level in levels_of(scout)}  # the deepest of each stride
        if set(levels) >= USUAL_STRIDES:
            yield format_row(name, list(levels), list(levels.values()), sum(p.numel() for p in scout.parameters()))
        else:
            others.append(f"{name} ({', '.join(map(str, levels))})")


def timm_names(pattern: str) -> list[str]:
    """Return the models of timm that match; if none does, compare the names with tags of weights too."""
    import timm

    names: list[str] = timm.list_models(pattern)
    if not names and "include_tags" in inspect.signature(timm.list_models).parameters:
        names = timm.list_models(pattern, include_tags=True)
    if not names and "." not in pattern and timm.is_model(pattern):
        names = [pattern]  # a deprecated name, which timm does not list and a row may carry
    return names


def all_rows(pattern: str, others: list[str]) -> Iterator[str]:
    """Yield the rows of the list without its header; append the names of models with other strides to `others`."""
    yield from own_rows(pattern)
    try:
        yield from timm_rows(pattern, others)
    except ImportError:
        print_error("The models of timm are not listed: pip install timm")


def describe_nearest(pattern: str) -> str:
    """Return in words the names that are most like a pattern that matches none."""
    names = list(VARIANTS)
    if "timm" in sys.modules:
        names += timm_names("*") + (timm_names(f"{pattern.split('.')[0]}.*") if "." in pattern else [])
    near = difflib.get_close_matches(pattern.lower(), names, 5, 0.5)
    return f"the nearest names are {', '.join(near)}" if near else "without a pattern all are listed"


def run(pattern: str) -> int:
    """Print the list; return the exit code, 1 if nothing matches the pattern or the list cannot be printed."""
    others: list[str] = []
    found = False
    if not print_line(f"{'name':<44}{'parameters':>10}  stride: channels, ..."):
        return 1
    for row in all_rows(pattern, others):
        if not print_line(row):
            return 1
        found = True
    if others:
        print_error(f"Of other strides, which the row has to name: {', '.join(others)}")
    if not (found or others):
        print_error(f"No backbone is called {pattern}; {describe_nearest(pattern)}")
        return 1
    return 0
