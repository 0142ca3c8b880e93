"""Finds the tensors of a checkpoint, in a file of any structure, or on the Hugging Face hub through timm."""

from __future__ import annotations

import inspect
import zipfile
from pathlib import Path
from typing import Any, Callable, TypeVar

import torch
from torch import Tensor

from . import inert_pickle

T = TypeVar("T")

# The first bytes of files that are no checkpoints, and what to tell the user.
BEGINNINGS = [
    (b"PK", "is damaged, perhaps cut off; fetch it again"),
    (b"<", "is an HTML or XML page, as is saved when a download link leads to a web page; fetch the file itself"),
    (b"version https://git-lfs", "is a Git LFS pointer; run git lfs pull where it came from"),
    (b"\x80", "is a bare pickle, or of torch before 1.6; save the state_dict() anew with torch.save of a later torch"),
]


def read_file(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the tensors in a file by name, for each place in it, without executing anything in the file.

    It reads `.safetensors` files and all that `torch.save` has written since torch 1.6: state dicts, also in nested
    dictionaries, and whole pickled models, as YOLOv5 saves. A place is the keys that lead there, joined by dots.

    Raises:
        ValueError: there is no such file, or it holds no tensors by name that can be read safely.
    """
    places = read_safely(path, places_of)
    if not places:
        raise ValueError(f"the weights file {path} holds no tensors by name; give a checkpoint, or a state_dict()")
    return places


def read_safely(path: Path, extract: Callable[[Any], T]) -> T:
    """Return what `extract` finds in a file's content: containers, tensors, and stand-ins for all other objects.

    Raises:
        ValueError: there is no such file, or it cannot be read safely.
    """
    file = f"the weights file {path}"
    if path.is_dir():
        raise ValueError(f"{file} is a folder; name a file in it")
    if not path.is_file():
        raise ValueError(
            f"{file} does not exist, seen from {Path.cwd()}; correct the path in the yaml or leave weights ''. To go "
            "on from a trained .pt, give it to --weights without --cfg, or with a yaml whose weights are ''"
        )
    safetensors = path.suffix.lower() == ".safetensors"
    if not path.stat().st_size or not (safetensors or zipfile.is_zipfile(str(path))):
        raise ValueError(f"{file} {describe_beginning(path)}")
    try:
        return extract(read_safetensors(path) if safetensors else inert_pickle.load(str(path)))
    except ImportError as error:
        raise ValueError(f"{file} needs the package safetensors: pip install safetensors") from error
    except Exception as error:  # damaged or hostile files can raise anything
        raise ValueError(
            f"{file} cannot be read safely as a checkpoint ({type(error).__name__}: {error}); it may be damaged, or "
            "hold more than a model. If you trust it, save the model's state_dict() alone"
        ) from error


def describe_beginning(path: Path) -> str:
    """Return what a file that is no checkpoint is, by its first bytes, and what to do."""
    with path.open("rb") as file:
        beginning = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not beginning:
        return "is empty; fetch it again"
    for known, what in BEGINNINGS:
        if beginning.startswith(known):
            return what
    return "is no checkpoint: neither a zip archive of torch.save nor .safetensors; check what was downloaded"


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a `.safetensors` file; the package safetensors is imported only here."""
    if hasattr(torch, "frombuffer"):
        from safetensors.torch import load_file

        return load_file(str(path))
    from safetensors.numpy import load_file as load_arrays  # for torch before 1.10; without bfloat16

    return {name: torch.from_numpy(array) for name, array in load_arrays(str(path)).items()}


def places_of(loaded: Any, place: str = "") -> dict[str, dict[str, Tensor]]:
    """Return the tensors of each state dict and pickled model in a file's content, by the keys that lead there."""
    if isinstance(loaded, inert_pickle.StandIn):
        tensors = inert_pickle.tensors_of(loaded)
        return {place: tensors} if tensors else {}
    if not isinstance(loaded, dict):
        return {}
    by_name = {name: value for name, value in loaded.items() if isinstance(name, str)}
    tensors = {name: value for name, value in by_name.items() if isinstance(value, Tensor)}
    places = {place: tensors} if tensors else {}
    for name, value in by_name.items():
        places.update(places_of(value, f"{place}.{name}" if place else name))
    return places


def fetch_from_timm(model_name: str) -> tuple[str, dict[str, dict[str, Tensor]]]:
    """Fetch a timm model's pretrained tensors through timm's own hub code, which caches them.

    Returns:
        Where they come from, and the tensors as `read_file` gives them, by timm's names.

    Raises:
        ValueError: timm is missing or too old, or the download failed.
    """
    advice = "pip install 'timm>=0.9.8' safetensors, or give the path of a checkpoint"
    try:
        from timm.models import get_pretrained_cfg, load_state_dict_from_hf
    except ImportError as error:
        raise ValueError(f"weights True needs timm 0.9.8 or later ({error}): {advice}") from error
    hub_id = getattr(get_pretrained_cfg(model_name), "hf_hub_id", None)
    if not hub_id:
        raise ValueError(f"weights True: the timm installed here has no weights of {model_name}: {advice}")
    # timm prefers .safetensors files; if it reads a pickle, this makes it safe
    safely = "weights_only" in inspect.signature(load_state_dict_from_hf).parameters
    options: dict[str, Any] = {"weights_only": True} if safely else {}
    try:
        state = places_of(load_state_dict_from_hf(hub_id, **options))
    except Exception as error:  # of the hub, the network or the file system
        raise ValueError(
            f"weights True: timm could not fetch {hub_id} from the Hugging Face hub ({type(error).__name__}: {error}); "
            f"check the network, or download https://huggingface.co/{hub_id} elsewhere and give the file's path"
        ) from error
    return f"timm's {hub_id}", state
