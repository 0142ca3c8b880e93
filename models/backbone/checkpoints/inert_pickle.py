"""Reads the tensors of a `torch.save` file without executing anything that the file names.

A pickle is a program: it may import any function and call it. YOLOv5 pickles whole models, so its checkpoints cannot be
opened by `torch.load(weights_only=True)`, and torch before 1.13 has no such argument. This reader opens every kind of
checkpoint with every version of torch. It imports nothing: two functions of torch that build tensors, and two types of
containers, have counterparts here; any other name becomes a `StandIn`, which stores its state and does nothing. A file
that calls a function that no model checkpoint calls is refused.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from typing import Any, Iterator

import numpy as np
import torch
from torch import Tensor

# torch's name of a storage in a pickle: the type by which NumPy reads it, and its dtype; NumPy has no bfloat16
STORAGES = {
    "DoubleStorage": ("<f8", torch.float64),
    "FloatStorage": ("<f4", torch.float32),
    "HalfStorage": ("<f2", torch.float16),
    "BFloat16Storage": ("<i2", torch.bfloat16),
    "LongStorage": ("<i8", torch.int64),
    "IntStorage": ("<i4", torch.int32),
    "ShortStorage": ("<i2", torch.int16),
    "CharStorage": ("i1", torch.int8),
    "ByteStorage": ("u1", torch.uint8),
    "BoolStorage": ("?", torch.bool),
}
# What a pickled model calls, by package or by full name, for plain data: arrays, paths, dates, devices, sets, methods.
# These become stand-ins like all other names. The list only tells models from files that may be malicious.
CALLED_BY_MODELS = {
    "__builtin__.getattr", "__builtin__.set", "builtins.getattr", "builtins.set", "_codecs", "argparse", "collections",
    "datetime", "functools", "models", "numpy", "pathlib", "timm", "torch", "torchvision", "ultralytics", "utils",
    "yolov5",
}  # fmt: skip


class StandIn:
    """Replaces an object whose class is not imported; `state` is the state that pickle would have given it."""

    name = ""  # of the class or function that it replaces
    state: Any = None

    def __init__(self, *_: Any) -> None:
        """Replace the result of a call, if a model may make it; pickle creates ordinary objects by `__new__` alone."""
        if not CALLED_BY_MODELS & {self.name, self.name.split(".", 1)[0]}:
            raise pickle.UnpicklingError(f"it wants to call {self.name}, which no model needs; it was not called")

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an item of what was a dictionary."""

    def append(self, value: Any) -> None:
        """Ignore an item of what was a list."""

    extend = append


class RebuildTensor:
    """Replaces `torch._utils._rebuild_tensor_v2`; an object without attributes, so that a pickle cannot alter it."""

    __slots__ = ()

    def __call__(self, storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        return storage.as_strided(size, stride, offset)  # torch raises for indices outside the storage


class RebuildParameter:
    """Replaces `torch._utils._rebuild_parameter`: only the tensor is needed."""

    __slots__ = ()

    def __call__(self, data: Tensor, *_: Any) -> Tensor:
        return data


class TensorUnpickler(pickle.Unpickler):
    """Unpickles the `data.pkl` of a file that `torch.save` wrote, with stand-ins for everything but tensors."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")), encoding="utf-8")
        self.archive = archive
        self.folder = folder
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement of `module.name`; called for every class and function that a pickle names."""
        if module == "torch" and name in STORAGES:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return RebuildTensor()
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return RebuildParameter()
        if (module, name) == ("torch", "Size"):
            return tuple
        return type("StandIn", (StandIn,), {"name": f"{module}.{name}"})

    def persistent_load(self, saved: Any) -> Tensor:
        """Return the storage that the pickle refers to, as a tensor of one dimension."""
        _, storage, key, *_ = saved
        if key not in self.storages:
            numpy_type, dtype = STORAGES[storage]
            data = bytearray(self.archive.read(f"{self.folder}data/{key}"))
            count = len(data) // np.dtype(numpy_type).itemsize  # 0 is possible
            values: np.ndarray[Any, Any] = np.ndarray(count, numpy_type, data)
            tensor = torch.from_numpy(values)
            self.storages[key] = tensor if tensor.dtype == dtype else tensor.view(dtype)
        return self.storages[key]


def load(path: str) -> Any:
    """Return what `torch.save` wrote to `path`: containers, tensors on the CPU, and a `StandIn` for any other object.

    Raises:
        ValueError: the file is no zip archive of `torch.save`.
        Exception: of any type, for a damaged or hostile archive; nothing that it names was executed.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        folders = [name[: -len("data.pkl")] for name in names if name.rsplit("/", 1)[-1] == "data.pkl"]
        if len(folders) != 1:
            raise ValueError("it is a zip archive, but not one of torch.save")
        if f"{folders[0]}constants.pkl" in names:
            raise ValueError("it is a TorchScript export; take the checkpoint that it was exported from")
        return TensorUnpickler(archive, folders[0]).load()


def fields_of(module: Any) -> dict[str, Any]:
    """Return the attributes of a stand-in; empty for any other value."""
    return module.state if isinstance(module, StandIn) and isinstance(module.state, dict) else {}


def modules_of(module: StandIn, prefix: str = "") -> Iterator[tuple[str, StandIn]]:
    """Yield a pickled `nn.Module` and all modules in it, each with the prefix of its names."""
    yield prefix, module
    for name, child in fields_of(module).get("_modules", {}).items():
        if isinstance(child, StandIn):
            yield from modules_of(child, f"{prefix}{name}.")


def tensors_of(module: StandIn, prefix: str = "") -> dict[str, Tensor]:
    """Return a pickled `nn.Module`'s parameters and buffers under the names that its `state_dict()` gives them.

    Non-persistent buffers are included. Anything but a module gives an empty dictionary.
    """
    return {
        path + name: value
        for path, part in modules_of(module, prefix)
        for kind in ("_parameters", "_buffers")
        for name, value in fields_of(part).get(kind, {}).items()
        if isinstance(value, Tensor)
    }


def is_plain(value: Any) -> bool:
    """Whether a value consists of Python's own types only, without stand-ins."""
    if isinstance(value, dict):
        return all(map(is_plain, [*value, *value.values()]))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (str, int, float))
