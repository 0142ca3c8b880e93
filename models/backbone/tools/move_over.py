"""Converts a detector that was trained with the copied snippet: `python -m models.backbone move-over old.pt new.pt`.

The snippet is code that many have pasted into YOLOv5 (`is_backbone = False`, `i + 4 if is_backbone else i`), together
with the EfficientViT of the paper's authors. YOLOv5 pickles whole models, so such a `.pt` can only be opened where that
code is. This command reads tensors and settings without executing anything in the file, renames the tensors, builds the
same yaml in the current patched checkout, and saves a checkpoint as YOLOv5's train.py does. It does the same for a
detector of this project from before version 1.0.0, whose modules had other names.
"""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..checkpoints.compare import mismatch
from ..checkpoints.read import read_safely
from ..efficientvit.network import VARIANTS
from ..efficientvit.weights import COMPUTED, MEAN, STD, backbones_in, our_name, query_kernels_of, refuse, widths_of
from .console import print_error, print_line
from .move_files import CFG_ADVICE, new_file, read_yaml, require_file, require_harmless, save
from .old_detector import BACKBONE, OldDetector, read_detector

PREFIX_LENGTH = len(BACKBONE)
ANCHOR_GRID = ".anchor_grid"  # YOLOv5 v5.0 keeps this product of a detector's anchors and strides as a tensor


class Move(NamedTuple):
    """The result of a conversion: the variant, how many tensors were converted, and lines for the user."""

    variant: str
    tensors: int
    lines: list[str]


def move_over(old: Path, cfg: Path | None = None) -> tuple[nn.Module, Move]:
    """Return the detector of an old file as a model of this checkout, in float32 and eval mode, and a report.

    Args:
        old: a `.pt` that YOLOv5's train.py saved with the snippet.
        cfg: the yaml to build; None for the one in the file.

    Raises:
        ValueError: the file holds no such detector, or does not fit the yaml; the message says what to do.
    """
    require_file(old, "give the best.pt or last.pt that was trained with the snippet")
    detector = read_safely(old, read_detector)
    if detector is None:
        raise ValueError(f"{old} holds no whole YOLOv5 model; give a best.pt or last.pt as train.py saves them")
    require_convertible(detector, old)
    state = rename_tensors(detector.tensors)
    backbone = {name[PREFIX_LENGTH:]: value for name, value in state.items() if name.startswith(BACKBONE)}
    variant = find_variant(backbone, old)
    kernels = query_kernels_of(backbone)
    own_kernels = kernels == VARIANTS[variant].query_kernels[: max(VARIANTS[variant].heads)]
    yaml = choose_yaml(detector, cfg, old)
    args = yaml["backbone"][0][3]
    args = args if detector.is_ours and isinstance(args, list) else []  # the snippet's have no meaning here
    named = {} if own_kernels else {"query_kernels": list(kernels)}
    yaml["backbone"][0][2:] = [variant, without_weights(args, named)]
    host = import_host()
    if cfg is None:
        require_harmless(yaml, host, str(old))
    model = build(host, detector, yaml, old, cfg or old)
    lines = load(model, detector, state, old)
    if not own_kernels:
        lines.append(f"its query kernels are {kernels}, and so says the yaml in the new checkpoint")
    return model.float().eval(), Move(variant, len(state), lines)


def without_weights(args: list[Any], more: dict[str, Any]) -> list[Any]:
    """Return the arguments of a row without its weights, which the file itself has, and with more that have names."""
    ordered = [value for value in args if not isinstance(value, dict)]
    named = {
        name: value for part in args if isinstance(part, dict) for name, value in part.items() if name != "weights"
    }
    named.update(more)
    return [*([""] if ordered else []), *ordered[1:], *([named] if named else [])]


def require_convertible(detector: OldDetector, old: Path) -> None:
    """Check that a detector has one backbone, as its first module, and cannot be loaded as it is.

    Raises:
        ValueError: it does not; the message says what it has.
    """
    prefixes = [found.prefix for found in backbones_in("", detector.tensors, ())]
    if not prefixes:
        refuse(detector.tensors, str(old))
    if len(prefixes) > 1:
        raise ValueError(f"{old} holds several backbones, at {', '.join(prefixes)}; only one can be converted")
    if prefixes[0] != BACKBONE:
        raise ValueError(
            f"{old} has its backbone at {prefixes[0] or 'the top'} and not at {BACKBONE}; only detectors whose yaml "
            "begins with the backbone can be converted"
        )
    if detector.is_current:
        raise ValueError(f"{old} was made with this project; it needs no moving, give it to --weights as it is")


def find_variant(backbone: dict[str, Tensor], old: Path) -> str:
    """Return the variant of a backbone's tensors.

    Raises:
        ValueError: it is none of M0 to M5.
    """
    widths = widths_of(backbone)
    for name, variant in VARIANTS.items():
        if variant.widths == widths:
            return name
    raise ValueError(
        f"{old}: its backbone's widths {widths} fit no EfficientViT from M0 to M5, so it cannot be converted"
    )


def rename_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under our names, without those that are computed from others."""
    state = {}
    for name, value in tensors.items():
        if name.startswith(BACKBONE):
            if not COMPUTED.search(name):
                state[BACKBONE + our_name(name[PREFIX_LENGTH:])] = value.float()
        elif not name.endswith(ANCHOR_GRID):
            state[name] = value.float() if value.is_floating_point() else value
    return state


def choose_yaml(detector: OldDetector, cfg: Path | None, old: Path) -> dict[str, Any]:
    """Return the yaml to build, with the number of classes of the old file.

    Raises:
        ValueError: there is none, or it has no backbone rows.
    """
    if cfg is None:
        found = detector.yaml
    else:
        found = read_yaml(cfg)
        if isinstance(found, dict) and isinstance(detector.yaml, dict) and "nc" in detector.yaml:
            found["nc"] = detector.yaml["nc"]
    rows = found.get("backbone") if isinstance(found, dict) else None
    if not (isinstance(rows, list) and rows and isinstance(rows[0], list) and len(rows[0]) == 4):
        where = cfg or f"the model in {old}"
        raise ValueError(f"{where} has no yaml with backbone rows; {CFG_ADVICE}")
    return copy.deepcopy(found)


def import_host() -> Any:
    """Return YOLOv5's models/yolo.py.

    Raises:
        ValueError: it cannot be imported.
    """
    try:
        return importlib.import_module("...yolo", __package__)
    except ImportError as error:
        raise ValueError(
            f"YOLOv5's models/yolo.py cannot be imported ({error}); run this in a patched checkout, with the Python "
            "that trains there"
        ) from error


def build(host: Any, detector: OldDetector, yaml: dict[str, Any], old: Path, source: Path) -> Any:
    """Build the yaml with the checkout's own class, and set the attributes that train.py sets: nc, hyp and names.

    Raises:
        ValueError: the checkout has no such class, the yaml does not build, or its strides differ.
    """
    model_class = getattr(host, detector.class_name, None)
    if model_class is None and detector.class_name == "DetectionModel":
        model_class = getattr(host, "Model", None)  # as it was called before v6.2
    if model_class is None:
        raise ValueError(f"{old} is a {detector.class_name}, which this YOLOv5 lacks; run this in a later release")
    try:
        model = model_class(yaml, ch=yaml.get("ch", 3))
        model.nc = yaml["nc"]
    except Exception as error:  # a yaml can raise anything
        raise ValueError(
            f"this YOLOv5 cannot build the yaml of {source} ({type(error).__name__}: {error}); run this in a patched "
            "checkout of the release that it was trained with, or give as --cfg a yaml of the same layers"
        ) from error
    if detector.strides and detector.strides != [float(stride) for stride in model.stride]:
        raise ValueError(
            f"{old} was trained with strides {detector.strides}, but its yaml gives {model.stride.tolist()} here; "
            "give the yaml that it was trained with as --cfg"
        )
    names = detector.names
    if isinstance(names, (list, dict)):
        model.names = list(names.values()) if isinstance(names, dict) else names
    model.hyp = detector.hyp
    return model


def load(model: Any, detector: OldDetector, state: dict[str, Tensor], old: Path) -> list[str]:
    """Load every tensor, and return lines about what was changed so that the model computes the same.

    Raises:
        ValueError: a tensor is missing, left over or of another shape.
    """
    expected = model.state_dict()
    head = anchor_module(expected)
    if head + ANCHOR_GRID in expected and head == anchor_module(state) and detector.strides:
        anchors = state[f"{head}.anchors"] * torch.as_tensor(detector.strides).reshape(-1, 1, 1)
        state[head + ANCHOR_GRID] = anchors.reshape(expected[head + ANCHOR_GRID].shape)
    neutral = {name: expected.pop(name) for name in (BACKBONE + MEAN, BACKBONE + STD)}  # none did
    wrong = mismatch(expected, state)
    if wrong:
        raise ValueError(
            f"the tensors in {old} are not those of its yaml here: {wrong}. Give the yaml that it was trained with as "
            "--cfg; a neck with modules that this checkout lacks cannot be converted"
        )
    moved = move_eps(model, detector, state)
    model.load_state_dict({**neutral, **state})
    lines = [f"{moved} batch norms of the backbone had another eps, which their variance now contains"] if moved else []
    if detector.bias_cache_error > 1e-3:
        lines.append(
            f"the cached attention biases are up to {detector.bias_cache_error:.3g} from the trained ones; the trained "
            "ones are taken, as by val.py and detect.py. Scores printed during training were computed with the cache"
        )
    return lines


def anchor_module(state: dict[str, Tensor]) -> str:
    """Return the name of the module with the anchors; "" if there is none."""
    return next((name[: -len(".anchors")] for name in state if name.endswith(".anchors")), "")


def move_eps(model: Any, detector: OldDetector, state: dict[str, Tensor]) -> int:
    """Add the difference in eps to the variances of the backbone's batch norms; return how many differ.

    YOLOv5 sets eps to 1e-3 on every plain `nn.BatchNorm2d`, including those of the snippet. Ours keep the 1e-5 of the
    paper. The difference is stored in the variance, because a model that is built again from its yaml loses an eps.
    """
    old_eps = {our_name(prefix[PREFIX_LENGTH:]): eps for prefix, eps in detector.eps.items()}
    moved = 0
    for name, part in model.model[0].named_modules():
        if isinstance(part, nn.BatchNorm2d):
            difference = old_eps[f"{name}."] - part.eps
            state[f"{BACKBONE}{name}.running_var"] += difference
            moved += bool(difference)
    return moved


def convert_file(old: Path, new: Path, cfg: Path | None) -> Move:
    """Convert the old file, and write the new one completely or not at all.

    Raises:
        ValueError: the new file cannot be written, or the old one cannot be converted.
    """
    require_file(old, "give the best.pt or last.pt that was trained with the snippet")
    with new_file(new) as file:
        model, move = move_over(old.resolve(), cfg)
        # the entries of a finished best.pt; in float32, because half precision would round the changed variances
        save({"epoch": -1, "best_fitness": None, "model": model, "ema": None, "updates": None, "optimizer": None}, file)
    return move


def run(old: Path, new: Path, cfg: Path | None = None) -> int:
    """Convert the old file, print a report, and return the exit code: 1 for a failure, 130 after Ctrl-C."""
    try:
        move = convert_file(old, new, cfg)
    except ValueError as error:
        print_error(f"Not converted: {error}")
        return 1
    except KeyboardInterrupt:
        print_error("Not converted: interrupted")
        return 130
    except Exception as error:  # users get a message instead of a traceback
        print_error(f"Not converted: {type(error).__name__}: {error}. This is a bug in move-over; please report it.")
        return 1
    last = f"{new}: {move.variant}, all {move.tensors} tensors of {old}; give it to --weights"
    text = "\n".join([*move.lines, last])
    if not print_line(text):
        print_error(text)
    return 0
