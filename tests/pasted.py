"""Checkpoints as YOLOv5 saves them with a pasted EfficientViT: whole modules, of classes that exist nowhere else."""

import sys
import types

import torch
from torch import nn

from models.backbone.efficientvit.weights import our_name

from . import golden

MODULE = "models.efficientvit_of_a_blog"


def old_names(variant):
    """Return the authors' name of each tensor of a detector's backbone, by ours."""
    return {our_name(name): name for name in golden.LAYOUTS["shapes"][f"detector/m{variant}"]}


def old_state(model, variant=0, prefix="model.0."):
    """Return a detector's tensors under the names that they have where the authors' classes are pasted."""
    names = old_names(variant)
    return {
        prefix + names[key[len(prefix) :]] if key.startswith(prefix) else key: value
        for key, value in model.state_dict().items()
        if not key.startswith(f"{prefix}normalization.")  # of which they know nothing
    }


def save(path, state, eps=1e-3, class_name="DetectionModel", wrap="model", cache=None, **attributes):
    """Write a `.pt` of a model with these tensors; `cache` is the table `ab` of every attention, if it has one."""
    module = types.ModuleType(MODULE)
    classes = {}
    for name in (class_name, "Layer", "BatchNorm2d", "CascadedGroupAttention"):
        classes[name] = type(name, (nn.Module,), {"__module__": MODULE, "__qualname__": name})
        setattr(module, name, classes[name])

    def part(inside, name=class_name):
        own = {key: value for key, value in inside.items() if "." not in key}
        kind = (
            "BatchNorm2d" if "running_var" in own else "CascadedGroupAttention" if "attention_biases" in own else name
        )
        made = classes[kind]()
        for key, value in own.items():
            if key in ("weight", "bias", "attention_biases"):
                made.register_parameter(key, nn.Parameter(value))
            else:
                made.register_buffer(key, value)
        if kind == "BatchNorm2d":
            made.eps = eps
        if kind == "CascadedGroupAttention" and cache is not None:
            made.ab = torch.full((own["attention_biases"].shape[0], 49, 49), cache)
        for child in dict.fromkeys(key.split(".")[0] for key in inside if "." in key):
            below = {key[len(child) + 1 :]: v for key, v in inside.items() if key.startswith(f"{child}.")}
            made.add_module(child, part(below, "Layer"))
        return made

    model = part(state)
    next(iter(model.model.children())).backbone = True  # by which the pasted forward knows it
    for name, value in attributes.items():
        setattr(model, name, value)
    sys.modules[MODULE] = module
    try:
        torch.save({"epoch": -1, "ema": None, "model": None, "optimizer": None, wrap: model}, path)
    finally:
        del sys.modules[MODULE]
