"""Weights for a model of timm: random ones, those of timm's hub, or a local file, without executing code in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import timm
import torch
from torch import Tensor, nn

from ..checkpoints.read import read_file
from ..checkpoints.wrapped import Candidate, candidate_below, choose, shared_prefixes
from ..normalization import IMAGENET, Statistics
from .plan import build_scout, default_cfg

ANCHORS = 5  # how many of a model's names are looked for in a file to find their prefix


def build_model(name: str, options: Mapping[str, Any], weights: bool | str | None) -> nn.Module:
    """Build a model of timm with `options`, and load `weights`: False for none, True for timm's hub, or a file.

    Raises:
        ValueError: the weights cannot be fetched or read, or do not fit the model.
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


def published_statistics(net: nn.Module) -> Statistics:
    """Return the statistics of the images that a model's published weights were trained on, as timm declares them."""
    known: Any = getattr(net, "pretrained_cfg", None) or getattr(net, "default_cfg", {})
    return Statistics(tuple(known.get("mean", IMAGENET.mean)), tuple(known.get("std", IMAGENET.std)))


def build_with_file(name: str, options: Mapping[str, Any], path: str) -> nn.Module:
    """Build a model with the weights of a local file; timm adapts them to the image's channels and the model's tables.

    Raises:
        ValueError: the file cannot be read, or belongs to another model.
    """
    if not hasattr(getattr(timm.models, "PretrainedCfg", None), "state_dict"):
        raise ValueError(f"timm {timm.__version__} loads no weights from a file; install 0.9 or later, or give True")
    errors = []
    for found in find_model(name, read_file(Path(path)), f"the weights file {path}"):
        try:
            return build_with_tensors(name, options, found.tensors, path)
        except ValueError as error:
            errors.append(error)
    raise errors[-1]


def find_model(name: str, places: Mapping[str, Mapping[str, Tensor]], source: str) -> list[Candidate]:
    """Return the tensors of a model in a file; several candidates, the best first, if the file has other names.

    timm itself converts the names in some published files, such as Swin's.

    Raises:
        ValueError: the file holds the model twice, and neither is preferred.
    """
    scout = build_scout(name, {})
    classifiers = default_cfg(scout).get("classifier") or ()
    heads = tuple(f"{head}." for head in ([classifiers] if isinstance(classifiers, str) else classifiers))
    wanted = {key for key in scout.state_dict() if not key.startswith(heads)}
    anchors = sorted(wanted)[:: max(1, len(wanted) // ANCHORS)]
    candidates = []
    for place, tensors in places.items():
        ends = {key[: -len(anchor)] for anchor in anchors for key in tensors if key.endswith(anchor)}
        for prefix in sorted(end for end in ends if not end or end.endswith(".")):
            candidate = candidate_below(place, prefix, tensors)
            candidates.append(candidate._replace(matched=len(wanted & candidate.tensors.keys())))
    likely = [candidate for candidate in candidates if 2 * candidate.matched > len(wanted)]
    if likely:
        return [choose(likely, len(wanted), source)]
    guesses = [
        candidate_below(place, prefix, tensors)
        for place, tensors in places.items()
        for prefix in shared_prefixes(tensors)
    ]
    return sorted(guesses, key=Candidate.rank)


def build_with_tensors(name: str, options: Mapping[str, Any], state: Mapping[str, Tensor], path: str) -> nn.Module:
    """Build a model with these tensors.

    Without a classifier, timm silently accepts files that lack tensors. So the model is built twice with the same
    random seed, once with every tensor of the file shifted: tensors that are equal then do not come from the file.

    Raises:
        ValueError: the tensors belong to another model.
    """
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
    """Build a model with these tensors, with the same random seed each time.

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
    for module in model.modules():  # timm stores the source of the weights, here the tensors, in the model
        for note in ("pretrained_cfg", "default_cfg"):
            if isinstance(getattr(module, note, None), dict):
                getattr(module, note).pop("state_dict", None)
    return model
