"""Whether a network is being exported."""

from __future__ import annotations

import torch


def is_exporting() -> bool:
    """Whether this runs inside a trace or `torch.export`, which record the network for another runtime."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    is_torch_export = getattr(getattr(torch, "compiler", None), "is_exporting", None)  # since torch 2.7
    return tracing or (is_torch_export is not None and is_torch_export())
