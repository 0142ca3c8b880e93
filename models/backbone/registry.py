"""The names of backbones in a yaml, each imported when it is first used.

Importing this module imports no network, and no package that only some networks need: without timm, every other model
still runs.
"""

from __future__ import annotations

import importlib

from .contract import Backbone

_modules: dict[str, str] = {}


def register(name: str, module: str) -> None:
    """Let a yaml row name the class `name`, a `Backbone`, which the module `module` defines.

    Args:
        name: the class's name, written in the yaml.
        module: where to import it from; a leading dot means this package.

    Raises:
        ValueError: the name already belongs to another module.
    """
    if _modules.setdefault(name, module) != module:
        raise ValueError(f"the backbone name {name!r} is taken by {_modules[name]}; choose another class name")


def registered_names() -> list[str]:
    """Return every name that a yaml may use for a backbone."""
    return list(_modules)


def backbone_class(name: str) -> type[Backbone]:
    """Import and return the backbone class `name`.

    Raises:
        ValueError: the name is not registered, or its module has no such subclass of `Backbone`.
        ImportError: a package that this backbone needs is missing.
    """
    if name not in _modules:
        raise ValueError(f"there is no backbone {name!r}; the registered ones are {', '.join(_modules)}")
    found = getattr(importlib.import_module(_modules[name], __package__), name, None)
    if not (isinstance(found, type) and issubclass(found, Backbone)):
        raise ValueError(f"{_modules[name]} has no class {name} that derives from Backbone; correct its registration")
    return found


for _size in range(6):
    register(f"EfficientViT_M{_size}", ".efficientvit.network")
register("TimmBackbone", ".timm_backbone.network")
