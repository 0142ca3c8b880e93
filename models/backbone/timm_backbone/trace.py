"""Finds out whether the trace of a timm model serves other image shapes, and fixes the shape if it does not.

`torch.jit.trace`, and the ONNX exporter that is based on it, turn Python's numbers into constants. Some models compute
their windows or tables from such numbers: for another image size, their trace gives wrong maps without an error.
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

# Relative to a map's largest value. A wrong size gives far larger errors.
MAX_ERROR = 1e-3
MAX_HALF_ERROR = 5e-2
LARGER_THAN_WINDOWS = 704  # pixels; some models have a separate code path for maps of a single window


def pin_frozen_shape(x: Tensor, net: nn.Module, sizes: SizeRule, model_name: str) -> Tensor:
    """Return a padded image `(B, C, H, W)` whose trace fails for every shape that a trace of `net` does not serve.

    A warning says what is fixed, and why.
    """
    shape = [int(side) for side in x.shape]
    # tracing is local to a thread: another thread is no part of the trace that is being made
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
    # not expand(), which would copy a single image, and which in ONNX accepts any batch
    return x if serves_batches else x.reshape(shape[0], *x.shape[1:])


@torch.no_grad()
def try_trace(net: nn.Module, example: Tensor, shape: Sequence[int], sizes: SizeRule) -> tuple[bool, bool]:
    """Return whether a trace of `net` at `shape`, `(B, C, H, W)`, serves other batch sizes, and other image sizes.

    The images have the dtype and the device of `example`.
    """
    net = copy.deepcopy(net).eval()
    batch, channels, *size = shape

    def image(batch: int, size: Sequence[int]) -> Tensor:
        return torch.rand(batch, channels, *size, dtype=example.dtype, device=example.device)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about constants in the trace, which is what this tests
        traced = torch.jit.trace(net, image(batch, size), strict=False, check_trace=False)
        others = other_sizes(sizes)
        if all(same_maps(net, traced, image(batch + 1, other)) for other in others or [size]):
            return True, True
        return (
            same_maps(net, traced, image(batch + 1, size)),
            all(same_maps(net, traced, image(batch, other)) for other in others),
        )


def other_sizes(sizes: SizeRule) -> list[Sequence[int]]:
    """Return image sizes to try: small, not square, and one beyond a single window; none for a single-size model.

    Divided by windows of 7 and 8 cells, they leave several remainders.
    """
    step, small = sizes.step, sizes.smallest
    if sizes.largest:
        return []
    return [(small, small + step), (small + 2 * step, small), (-(-LARGER_THAN_WINDOWS // step) * step, small)]


def same_maps(net: nn.Module, traced: nn.Module, image: Tensor) -> bool:
    """Whether a trace gives the same maps as the model itself."""
    forget_biases(net)
    expected = net(image)
    try:
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # optimising takes longer than the one run that is asked for
            found = traced(image)
    except Exception:  # TorchScript's own or torch's
        return False
    tolerance = MAX_HALF_ERROR if image.dtype in (torch.float16, torch.bfloat16) else MAX_ERROR
    return len(found) == len(expected) and all(
        a.shape == b.shape and bool((a - b).abs().max() <= tolerance * b.abs().max()) for a, b in zip(found, expected)
    )
