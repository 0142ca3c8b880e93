"""Backbones in a checkpoint that YOLOv5's train.py loads, by --weights or --resume."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Mapping

from torch import Tensor, nn

from ..checkpoints.compare import mismatch
from ..contract import Backbone
from ..registry import backbone_class, registered_names

ARGUMENT = "weights"


def forget_weights(yaml: Any) -> None:
    """Remove weights files from the backbone rows of a checkpoint's yaml, in place.

    The host builds the yaml again and then loads all of the checkpoint's tensors. The file is not needed, and may have
    been deleted.

    Args:
        yaml: the dictionary that a model of the host keeps; anything else is ignored.
    """
    parts = yaml.values() if isinstance(yaml, dict) else ()
    for row in [row for part in parts if isinstance(part, list) for row in part]:
        if isinstance(row, list) and len(row) == 4 and isinstance(row[3], list) and row[2] in registered_names():
            args = row[3] = list(row[3])
            _, *parameters = inspect.signature(backbone_class(row[2])).parameters
            if ARGUMENT in parameters[: len(args)] and not isinstance(args[parameters.index(ARGUMENT)], dict):
                args[parameters.index(ARGUMENT)] = False
            if args and isinstance(args[-1], dict) and ARGUMENT in args[-1]:
                args[-1] = {**args[-1], ARGUMENT: False}


def fit_backbones(model: Any, state: Mapping[str, Tensor], log: Callable[[str], Any]) -> None:
    """Adapt the backbones to the tensors of a checkpoint, and log how many of theirs it lacks.

    The host loads only the tensors that have the same name and shape in its model, and does not log which.

    Args:
        model: the host's model, not wrapped.
        state: the checkpoint's tensors, under the names of the host's model.
        log: writes a line of the host's log.
    """
    for prefix, backbone in model.named_modules():
        if isinstance(backbone, Backbone):
            start = f"{prefix}." if prefix else ""
            found = {name[len(start) :]: value for name, value in state.items() if name.startswith(start)}
            log_transfer(backbone, backbone.fit(found), found, log)


def log_transfer(backbone: nn.Module, changed: str, found: Mapping[str, Tensor], log: Callable[[str], Any]) -> None:
    """Log what was changed in a backbone, and which of its tensors are not in a checkpoint."""
    name, expected = type(backbone).__name__, backbone.state_dict()
    loaded = [key for key, value in expected.items() if key in found and found[key].shape == value.shape]
    if changed:
        log(f"{name}: {changed}")
    if len(loaded) == len(expected):
        return
    wrong = mismatch(expected, {key: value for key, value in found.items() if key in expected})
    log(
        f"WARNING {name}: {len(expected) - len(loaded)} of {len(expected)} tensors do not come from the checkpoint "
        f"({wrong}). They keep their initial values. If the checkpoint is of another backbone, name that in the row. "
        "To load only a backbone, give its file as the row's weights: then every tensor is checked"
    )
