"""Reads the tensors of a `torch.save` file without running anything that the file names.

A pickle is a program: it may import any function and call it. YOLOv5 pickles whole models, so its checkpoints cannot be
opened by `torch.load(weights_only=True)`, and torch before 1.13 has no such argument. This reader serves every kind of
checkpoint on every version of torch instead. It imports nothing: two torch functions that put tensors together, and
the two containers that they come in, have counterparts here; any other name becomes a `StandIn` that keeps what it is
given and does nothing. A file that calls a function which no model checkpoint calls is refused altogether.
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

# torch's name of a storage in a pickle: the type that NumPy reads it as, and what it is; NumPy has no bfloat16
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
# These become stand-ins like all others. The list only tells a model apart from a file that is up to something.
CALLED_BY_MODELS = {
    "__builtin__.getattr", "__builtin__.set", "builtins.getattr", "builtins.set", "_codecs", "argparse", "collections",
    "datetime", "functools", "models", "numpy", "pathlib", "timm", "torch", "torchvision", "ultralytics", "utils",
    "yolov5",
}  # fmt: skip


class StandIn:
    """In place of an object whose class is not imported; `state` holds what pickle would have put into that object."""

    name = ""  # of the class or function that it stands for
    state: Any = None

    def __init__(self, *_: Any) -> None:
        """Stand for the result of a call; pickle makes ordinary objects by `__new__` alone."""
        if not CALLED_BY_MODELS & {self.name, self.name.split(".", 1)[0]}:
            raise pickle.UnpicklingError(f"it wants to call {self.name}, which no model needs; it was not called")

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an item of what was a dictionary, and let it go."""

    def append(self, value: Any) -> None:
        """Take an item of what was a list, and let it go."""

    extend = append


class RebuildTensor:
    """In place of `torch._utils._rebuild_tensor_v2`; an object without attributes, so that a pickle cannot alter it."""

    __slots__ = ()

    def __call__(self, storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        return storage.as_strided(size, stride, offset)  # torch refuses what lies outside the storage


class RebuildParameter:
    """In place of `torch._utils._rebuild_parameter`: the tensor alone is wanted."""

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
        """Return what stands for `module.name`; called for every class and function that a pickle names."""
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
            count = len(data) // np.dtype(numpy_type).itemsize  # 0 is not unusual
            values: np.ndarray[Any, Any] = np.ndarray(count, numpy_type, data)
            tensor = torch.from_numpy(values)
            self.storages[key] = tensor if tensor.dtype == dtype else tensor.view(dtype)
        return self.storages[key]


def load(path: str) -> Any:
    """Return what `torch.save` wrote to `path`: containers, tensors on the CPU, and a `StandIn` for any other object.

    Raises:
        ValueError: the file is none of `torch.save`'s zip archives.
        Exception: whatever a damaged or hostile archive provokes; nothing that it names has run.
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
    """Return the attributes of a pickled object; empty if it is none, or has none."""
    return module.state if isinstance(module, StandIn) and isinstance(module.state, dict) else {}


def modules_of(module: StandIn, prefix: str = "") -> Iterator[tuple[str, StandIn]]:
    """Go through a pickled `nn.Module` and all modules in it; what stands before the names of each, and the module."""
    yield prefix, module
    for name, child in fields_of(module).get("_modules", {}).items():
        if isinstance(child, StandIn):
            yield from modules_of(child, f"{prefix}{name}.")


def tensors_of(module: StandIn, prefix: str = "") -> dict[str, Tensor]:
    """Return a pickled `nn.Module`'s parameters and buffers under the names that its `state_dict()` gives them.

    Buffers that were not to be saved are among them. Anything that is no module gives an empty dictionary.
    """
    return {
        before + name: value
        for before, part in modules_of(module, prefix)
        for kind in ("_parameters", "_buffers")
        for name, value in fields_of(part).get(kind, {}).items()
        if isinstance(value, Tensor)
    }
