"""Weights for a model of timm: none, those of timm's hub, or a local file, read without running code in it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Mapping

import timm
import torch
from torch import Tensor, nn

CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # where training scripts keep the tensors
WRAPPERS = ("module.", "_orig_mod.")  # what distributed training and torch.compile put before each name


def build_model(name: str, options: Mapping[str, Any], weights: bool | str | None) -> nn.Module:
    """Build a model of timm with `options`, and load `weights`: False, True for timm's hub, or a file.

    Raises:
        ValueError: the weights are not to be had, or do not fit the model.
    """
    if not weights:
        return timm.create_model(name, pretrained=False, **options)
    if isinstance(weights, str):
        return build_with_file(name, options, weights)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:
        raise ValueError(
            f"timm's hub gave no weights for {name} ({type(error).__name__}: {error}); check the network, or write the "
            "path of a file, or False for random weights, as the row's second argument"
        ) from error


def build_with_file(name: str, options: Mapping[str, Any], path: str) -> nn.Module:
    """Build a model with the weights of a local file; timm adapts them to the image's channels and the model's tables.

    timm lets a file miss tensors silently when the classifier is left out, as it is here. So the model is built twice
    from the same random numbers, once with every tensor of the file shifted: what is equal then is not of the file.

    Raises:
        ValueError: the file cannot be read, or is not that of this model.
    """
    if not hasattr(getattr(timm.models, "PretrainedCfg", None), "state_dict"):
        raise ValueError(f"timm {timm.__version__} loads no weights from a file; install 0.9 or later, or give True")
    state = read_tensors(path)
    shifted = {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}
    model, other = create_from(name, options, state, path), create_from(name, options, shifted, path).state_dict()
    own = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
    missing = [key for key, value in own.items() if torch.equal(value, other[key])]
    if missing:
        raise ValueError(
            f"the weights file {path} is not that of {name}: {len(missing)} of {len(own)} tensors are not in it, "
            f"among them {', '.join(missing[:4])}"
        )
    return model


def create_from(name: str, options: Mapping[str, Any], state: Mapping[str, Tensor], path: str) -> nn.Module:
    """Build a model with these tensors, always from the same random numbers.

    Raises:
        ValueError: a tensor has another shape than the model's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            overlay = {"state_dict": dict(state)}
            model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
        except Exception as error:
            raise ValueError(f"the weights file {path} does not fit {name}: {error}") from error
    for module in model.modules():  # timm notes where the weights came from, here the tensors; a checkpoint would too
        for note in ("pretrained_cfg", "default_cfg"):
            if isinstance(getattr(module, note, None), dict):
                getattr(module, note).pop("state_dict", None)
    return model


def read_tensors(path: str) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file or of a torch checkpoint, by name.

    Raises:
        ValueError: there is no such file, or it cannot be read without running code in it.
    """
    if not Path(path).is_file():
        raise ValueError(f"the weights file {path} does not exist; correct it in the yaml, or write True or False")
    try:
        loaded = read_safetensors(path) if path.endswith(".safetensors") else read_checkpoint(path)
    except Exception as error:
        raise ValueError(
            f"the weights file {path} cannot be read safely ({type(error).__name__}: {error}); it may be damaged, hold "
            "more than tensors, or need torch 1.13 or later"
        ) from error
    for container in CONTAINERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(container), dict):
            loaded = loaded[container]
            break
    if not (isinstance(loaded, dict) and loaded and all(isinstance(value, Tensor) for value in loaded.values())):
        raise ValueError(f"the weights file {path} holds no tensors by name, neither bare nor under {CONTAINERS}")
    return {without_wrappers(key): value for key, value in loaded.items()}


def read_safetensors(path: str) -> dict[str, Tensor]:
    """Read a `.safetensors` file; the package is one that timm brings."""
    from safetensors.torch import load_file

    return load_file(path)


def read_checkpoint(path: str) -> Any:
    """Read a torch checkpoint; the arguments that timm's own training script saves with it are let through."""
    safe_globals = getattr(torch.serialization, "safe_globals", None)  # torch 2.5
    if safe_globals is None:
        return torch.load(path, map_location="cpu", weights_only=True)
    with safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def without_wrappers(name: str) -> str:
    """Return a tensor's name without what wrappers of the model put before it."""
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name
