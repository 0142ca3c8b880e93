"""Finds out whether the trace of a timm model serves other images, and pins the shape where it does not.

`torch.jit.trace`, and the ONNX exporter that builds on it, turn Python's numbers into constants. Some models compute
their windows or tables from such numbers: their trace gives wrong maps of another image size, without an error.
"""

from __future__ import annotations

import copy
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Sequence

import torch
from torch import Tensor, nn

from .adapt import forget_biases
from .sizes import SizeRule

LOGGER = logging.getLogger(__name__)

# Of a map's largest value. What a frozen size does is far larger.
MOST_ERROR = 1e-3
MOST_ERROR_OF_HALVES = 5e-2
BEYOND_WINDOWS = 704  # pixels: some models take another way where a map is no larger than a window


def pin_frozen_shape(x: Tensor, net: nn.Module, sizes: SizeRule, model_name: str) -> Tensor:
    """Return a padded image `(B, C, H, W)` so that its trace fails at every shape that `net` is not traced for.

    A warning says what was pinned, and why.
    """
    shape = [int(side) for side in x.shape]
    # torch traces by thread: what another thread runs is no part of the trace that is being made
    with ThreadPoolExecutor(1) as thread:
        serves_batches, serves_sizes = thread.submit(try_trace, net, x, shape, sizes).result()
    if serves_batches and serves_sizes:
        return x
    fixed = ([] if serves_sizes else [f"of {shape[2]}x{shape[3]} pixels"]) + (
        [] if serves_batches else [f"in batches of {shape[0]}"]
    )
    LOGGER.warning(  # export.py silences Python's warnings
        f"WARNING the exported file takes images {' '.join(fixed)} only: {model_name}'s own code fixes that when it is "
        "traced. Other images are an error there; export once for each size"
    )
    if not serves_sizes:
        x = x.expand(-1, -1, *shape[2:])
    # expand() would make copies of a single image, and ONNX's takes any batch for one
    return x if serves_batches else x.reshape(shape[0], *x.shape[1:])


@torch.no_grad()
def try_trace(net: nn.Module, example: Tensor, shape: Sequence[int], sizes: SizeRule) -> tuple[bool, bool]:
    """Return whether a trace of `net` at `shape`, `(B, C, H, W)`, serves other batch sizes, and other image sizes.

    `example` gives the type and the device of the images.
    """
    net = copy.deepcopy(net).eval()
    batch, channels, *size = shape

    def image(batch: int, size: Sequence[int]) -> Tensor:
        return torch.rand(batch, channels, *size, dtype=example.dtype, device=example.device)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the trace freezes; that is what is tried out here
        traced = torch.jit.trace(net, image(batch, size), strict=False, check_trace=False)
        others = other_sizes(sizes)
        if all(same_maps(net, traced, image(batch + 1, other)) for other in others or [size]):
            return True, True
        return (
            same_maps(net, traced, image(batch + 1, size)),
            all(same_maps(net, traced, image(batch, other)) for other in others),
        )


def other_sizes(sizes: SizeRule) -> list[Sequence[int]]:
    """Return image sizes to try: small, not square, and one beyond the windows that models use; none if there is one.

    They leave several remainders to windows of 7 and 8 cells.
    """
    step, small = sizes.step, sizes.smallest
    if sizes.largest:
        return []
    return [(small, small + step), (small + 2 * step, small), (-(-BEYOND_WINDOWS // step) * step, small)]


def same_maps(net: nn.Module, traced: nn.Module, image: Tensor) -> bool:
    """Tell whether a trace gives the maps of the model itself."""
    forget_biases(net)
    expected = net(image)
    try:
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # optimising takes longer than the one run that is asked for
            found = traced(image)
    except Exception:  # of any kind: TorchScript's own, and torch's
        return False
    most = MOST_ERROR_OF_HALVES if image.dtype in (torch.float16, torch.bfloat16) else MOST_ERROR
    return len(found) == len(expected) and all(
        a.shape == b.shape and bool((a - b).abs().max() <= most * b.abs().max()) for a, b in zip(found, expected)
    )
