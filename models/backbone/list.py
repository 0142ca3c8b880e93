"""Lists the backbones that fit a yaml: `python -m models.backbone.list [pattern]`, in the root of a patched checkout.

Each with its strides, the channels of its maps, and its parameters. The pattern is like `convnext*`; without one every
model of timm is built, without storage, which takes some minutes.
"""

from __future__ import annotations

import argparse
import fnmatch
import logging
import sys
import warnings
from typing import Iterator, Sequence

from .efficientvit import VARIANTS
from .registry import backbone_class

USUAL = {8, 16, 32}


def line(name: str, strides: Sequence[int], channels: Sequence[int], parameters: int) -> str:
    """Return one line of the list."""
    columns = [f"{stride}: {width}" for stride, width in zip(strides, channels)]
    return f"{name:<44}{parameters / 1e6:>8.1f} M  {', '.join(columns)}"


def own_lines(pattern: str) -> Iterator[str]:
    """List the backbones of this package."""
    for name in fnmatch.filter(VARIANTS, pattern):
        backbone = backbone_class(name)(3)
        yield line(name, backbone.strides, backbone.channels, sum(p.numel() for p in backbone.parameters()))


def timm_lines(pattern: str, others: list[str]) -> Iterator[str]:
    """List the models of timm that give maps of stride 8, 16 and 32; the names of the rest go into `others`."""
    warnings.simplefilter("ignore")  # of deprecations inside timm
    import timm

    from .timm_plan import feature_scout, levels_of

    logging.getLogger("timm").setLevel(logging.ERROR)
    for name in timm.list_models(pattern):
        try:
            scout = feature_scout(name)
        except ValueError:
            others.append(f"{name} (no feature maps)")
            continue
        levels = {level.stride: level.channels for level in levels_of(scout)}  # the deepest of each stride
        if set(levels) >= USUAL:
            yield line(name, list(levels), list(levels.values()), sum(p.numel() for p in scout.parameters()))
        else:
            others.append(f"{name} ({', '.join(map(str, levels))})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the list; return 1 if nothing matches the pattern."""
    parser = argparse.ArgumentParser(prog="python -m models.backbone.list", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="*", help="which names, such as 'convnext*'; all of them")
    pattern = parser.parse_args(arguments).pattern
    others: list[str] = []
    found = False
    print(f"{'name':<44}{'parameters':>10}  stride: channels, ...")
    for text in own_lines(pattern):
        print(text)
        found = True
    try:
        for text in timm_lines(pattern, others):
            print(text, flush=True)
            found = True
    except ImportError:
        print("The models of timm are not listed: pip install timm", file=sys.stderr)
    if others:
        print(f"Of other strides, which the row has to name: {', '.join(others)}", file=sys.stderr)
    if not (found or others):
        print(f"No backbone is called {pattern}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
