"""Training: warnings about --freeze and --cutoff, the optimizer's groups, and frozen epochs."""

from __future__ import annotations

import inspect
from typing import Any, Callable

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from ..contract import Backbone
from ..frozen import PausedParameter


def warn_of_frozen_neck(model: Any, log: Callable[[str], Any]) -> None:
    """Warn if the host has frozen modules after a backbone: `--freeze N` counts modules, not layers.

    Args:
        model: the host's model; its attribute `model` is the sequence of layers.
        log: writes a line of the host's log.
    """
    layers = getattr(model, "model", None)
    backbones = [layer for layer in layers if isinstance(layer, Backbone)] if isinstance(layers, nn.Sequential) else []
    if not (backbones and layers):
        return
    frozen = [
        f"{layer.i} ({layer.type.rpartition('.')[-1]})"
        for layer in layers
        if layer not in backbones and list(layer.parameters()) and not any(p.requires_grad for p in layer.parameters())
    ]
    if frozen:
        log(
            f"WARNING --freeze counts modules, and {type(backbones[0]).__name__} is one of them: besides it, layers "
            f"{', '.join(frozen)} are frozen. To freeze the backbone alone, use --freeze 1."
        )


def warn_of_cut_neck(model: Any, cutoff: int, log: Callable[[str], Any]) -> None:
    """Warn if a classifier that is cut from a detector loses a part of the backbone, or keeps a part of the neck.

    Args:
        model: the host's detector, still whole; `model` is its sequence of layers, `yaml` its configuration.
        cutoff: how many modules the host keeps; the classifier replaces the last of them.
        log: writes a line of the host's log.
    """
    backbones = [position for position, layer in enumerate(model.model) if isinstance(layer, Backbone)]
    if not (backbones and isinstance(cutoff, int) and cutoff > 0):
        return
    shortest = backbones[-1] + 2
    whole = max(shortest, len((getattr(model, "yaml", None) or {}).get("backbone", ())))
    if not shortest <= cutoff <= whole:
        name = type(model.model[backbones[-1]]).__name__
        effect = "keeps a part of the neck, which may not run by itself" if cutoff > whole else "cuts the backbone off"
        log(
            f"WARNING --cutoff counts modules, and {name} is one of them: --cutoff {cutoff} {effect}. To keep the "
            f"backbone alone, use --cutoff {whole}."
        )


def train_whole_backbones(optimizer: Optimizer, model: nn.Module, log: Callable[[str], Any]) -> None:
    """Let the host's optimizer train every parameter of the backbones, with weight decay only for weights of layers.

    YOLOv5 up to v6.2 trains only parameters that are called `weight` or `bias`: layer scales, position tables and class
    tokens would keep their initial values. Later releases train these with the weight decay of convolutions, and v5.0
    to v6.1 train the weights of layer norms with it. Here all of these train without weight decay, as batch norms do.
    AdamW's weight decay of 0.01 in v6.1 is set to 0 for batch norms and biases of the whole model.

    Added parameters join the group of the batch norms' weights, because the host relies on its three groups: it warms
    up that of the biases by number, and writes a column of results.csv for each. A resumed run needs the parameters
    there before it loads the optimizer's state. That includes parameters that `frozen_epochs` freezes for a time.

    A model without backbones is left alone. So is the optimizer of a fork that has no group for batch norms, with a
    warning. Parameters without gradient stay in their groups.

    Args:
        optimizer: the host's, with all its groups, before its state is loaded.
        model: the host's model, not wrapped.
        log: writes a line of the host's log.
    """
    backbones = [module for module in model.modules() if isinstance(module, Backbone)]
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d) and id(module.weight) in groups]
    if not (backbones and norms):
        return
    without_decay = groups[id(norms[0].weight)]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if any(groups.get(id(convolution.weight)) is without_decay for convolution in convolutions):
        log(
            "WARNING this optimizer keeps batch norms and convolutions in one group, so its groups stay as they are. "
            "Parameters of the backbone that it lacks are not trained."
        )
        return
    for group in (without_decay, groups.get(id(norms[0].bias), without_decay)):
        group["weight_decay"] = 0.0

    trained = [
        (name, parameter)
        for backbone in backbones
        for name, parameter in backbone.named_parameters()
        if parameter.requires_grad or isinstance(parameter, PausedParameter)
    ]
    missing = [(name, parameter) for name, parameter in trained if id(parameter) not in groups]
    moved = [
        parameter
        for name, parameter in trained
        if not is_layer_weight(name, parameter) and groups.get(id(parameter), without_decay)["weight_decay"]
    ]
    moved_ids = {id(parameter) for parameter in moved}
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in moved_ids]
    with_decay = next((groups[id(c.weight)] for c in convolutions if id(c.weight) in groups), without_decay)
    with_decay["params"] += [parameter for name, parameter in missing if is_layer_weight(name, parameter)]
    without_decay["params"] += [parameter for name, parameter in missing if not is_layer_weight(name, parameter)]
    without_decay["params"] += moved
    if missing or moved:
        log(
            f"{type(backbones[0]).__name__}: the optimizer takes {len(missing)} parameters that YOLOv5 leaves out, and "
            f"spares {len(moved)} others the weight decay"
        )


def begin_epoch(model: nn.Module, epoch: int, log: Callable[[str], Any]) -> nn.Module:
    """Call `begin_epoch` of the backbones, and return the model to train.

    DistributedDataParallel looks up which parameters have gradients when it wraps a model. The model is wrapped again
    if a backbone has changed that.

    Args:
        model: the host's, which may be wrapped.
        epoch: its number, from 0 on.
        log: writes a line of the host's log.
    """
    inner = model.module if isinstance(model, (nn.DataParallel, DistributedDataParallel)) else model
    changed = False
    for backbone in inner.modules():
        done = backbone.begin_epoch(epoch) if isinstance(backbone, Backbone) else ""
        if done:
            changed = True
            log(f"{type(backbone).__name__}: {done}")
    return rewrap(model) if changed and isinstance(model, DistributedDataParallel) else model


def rewrap(model: DistributedDataParallel) -> DistributedDataParallel:
    """Wrap a model again with the same settings and the host's attributes of the wrapper, such as the class names."""
    settings = [*inspect.signature(DistributedDataParallel).parameters.values()][1:]  # without the module
    changed = {
        setting.name: getattr(model, setting.name)
        for setting in settings
        if getattr(model, setting.name, setting.default) != setting.default
    }
    wrapper = DistributedDataParallel(model.module, **changed)
    for name, value in vars(model).items():
        if not name.startswith("_"):
            vars(wrapper).setdefault(name, value)
    return wrapper


def is_layer_weight(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is the weight of a convolution or a linear layer, and so has weight decay."""
    return "weight" in name.rpartition(".")[2] and parameter.dim() > 1
