"""Opens a detector that YOLOv5 has saved."""

from __future__ import annotations

import inspect
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoints.read import describe_beginning


def open_model(path: Path) -> Any:
    """Return the model in a `.pt` of train.py, in float32 and eval mode: the moving average, if there is one.

    As in YOLOv5's own commands, everything that the file names is imported and executed.

    Raises:
        ValueError: the file holds no model, or cannot be opened here.
    """
    if not zipfile.is_zipfile(str(path)):
        raise ValueError(f"{path} {describe_beginning(path)}")
    whole = "weights_only" in inspect.signature(torch.load).parameters  # since torch 1.13
    options: dict[str, Any] = {"weights_only": False} if whole else {}
    try:
        loaded = torch.load(str(path), map_location="cpu", **options)
    except Exception as error:  # of any type, by a damaged file or a class of another checkout
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} cannot be opened ({type(error).__name__}: {reason}); run this in the patched checkout that it was "
            "trained in"
        ) from error
    model = (loaded.get("ema") or loaded.get("model")) if isinstance(loaded, dict) else loaded
    if not isinstance(model, nn.Module):
        raise ValueError(f"{path} holds no whole YOLOv5 model; give a best.pt or last.pt as train.py saves them")
    return model.float().eval()
