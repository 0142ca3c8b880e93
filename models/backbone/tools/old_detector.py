"""The detector in an old file, as move_over.py takes it out without executing anything in the file."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from ..checkpoints.inert_pickle import StandIn, fields_of, is_plain, modules_of, tensors_of
from ..efficientvit.weights import MEAN

BACKBONE = "model.0."  # in the snippet too, the backbone is the first module


class OldDetector(NamedTuple):
    """The content of an old file that is converted: tensors, and the model's attributes that are plain data."""

    class_name: str
    yaml: Any
    names: Any
    hyp: Any
    tensors: dict[str, Tensor]
    strides: list[float]
    eps: dict[str, float]  # of each batch norm, by the prefix of its tensors' names
    bias_cache_error: float  # how far the cached attention biases are from the trained ones, at most
    backbone_class: str = ""  # with its module

    @property
    def is_ours(self) -> bool:
        """Whether the tensors have the names of this project."""
        return any(name.startswith(f"{BACKBONE}stem.") for name in self.tensors)

    @property
    def is_current(self) -> bool:
        """Whether the classes that the file names are where they are today, with all that they have today."""
        return ".efficientvit.network." in self.backbone_class and BACKBONE + MEAN in self.tensors


def read_detector(loaded: Any) -> OldDetector | None:
    """Return the detector in a file's content: the moving average, if there is one; None if there is no model."""
    model = loaded
    if isinstance(loaded, dict):
        model = next((loaded[key] for key in ("ema", "model") if loaded.get(key)), None)
    fields = fields_of(model)
    if not (isinstance(model, StandIn) and fields.get("_modules")):
        return None
    modules, hyp = dict(modules_of(model)), fields.get("hyp")
    return OldDetector(
        class_name=model.name.rpartition(".")[-1],
        yaml=fields.get("yaml") if is_plain(fields.get("yaml")) else None,
        names=fields.get("names") if is_plain(fields.get("names")) else None,
        hyp={key: value for key, value in hyp.items() if is_plain(value)} if isinstance(hyp, dict) else {},
        tensors=tensors_of(model),
        strides=[float(stride) for stride in fields.get("stride", [])],
        eps={prefix: fields_of(part)["eps"] for prefix, part in modules.items() if "eps" in fields_of(part)},
        bias_cache_error=max(map(cache_error_of, modules.values()), default=0.0),
        backbone_class=modules[BACKBONE].name if BACKBONE in modules else "",
    )


def cache_error_of(attention: StandIn) -> float:
    """Return the largest difference of a module's cached attention biases from the trained ones; 0 without a cache.

    The authors' class computes the table `ab` from `attention_biases` in `eval()`. YOLOv5's moving average updates the
    parameter but not the table, so the table in a file is still that of the untrained network.
    """
    fields = fields_of(attention)
    cached = fields.get("ab")
    biases = fields.get("_parameters", {}).get("attention_biases")
    indices = fields.get("_buffers", {}).get("attention_bias_idxs")
    if cached is None or biases is None or indices is None:
        return 0.0
    return (biases.float()[:, indices] - cached.float()).abs().max().item()
