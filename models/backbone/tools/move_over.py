"""Brings a detector over that was trained with the copied snippet: `python -m models.backbone move-over old.pt new.pt`.

The snippet is code that many have pasted into YOLOv5 (`is_backbone = False`, `i + 4 if is_backbone else i`), together
with the paper's authors' EfficientViT. YOLOv5 pickles whole models, so such a `.pt` opens only where that code lies.
This reads its tensors and settings without running anything in it, gives the tensors our names, builds the same yaml in
the patched checkout that it is run in, and saves a checkpoint as YOLOv5's train.py does.
"""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..checkpoints.compare import mismatch
from ..checkpoints.inert_pickle import StandIn, fields_of, modules_of, tensors_of
from ..checkpoints.read import read_safely
from ..efficientvit.network import VARIANTS
from ..efficientvit.weights import COMPUTED, MEAN, STD, backbones_in, our_name, query_kernels_of, refuse, widths_of
from .console import print_error, print_line
from .move_files import CFG_ADVICE, new_file, read_yaml, require_file, require_harmless, save

BACKBONE = "model.0."  # the snippet, too, has the backbone as the first module, and as one
PREFIX_LENGTH = len(BACKBONE)
DERIVED = ".anchor_grid"  # YOLOv5 v5.0 keeps this product of a detector's anchors and strides as a tensor


class OldDetector(NamedTuple):
    """What is taken from an old file; of a model's own attributes those that are plain data."""

    class_name: str
    yaml: Any
    names: Any
    hyp: Any
    tensors: dict[str, Tensor]
    strides: list[float]
    eps: dict[str, float]  # of each batch norm, by what stands before its tensors' names
    stale: float  # how far the cached attention biases are from the trained ones, at most


class Move(NamedTuple):
    """What became of an old file."""

    variant: str
    tensors: int
    lines: list[str]


def read_detector(loaded: Any) -> OldDetector | None:
    """Return the detector in what a file holds: the moving average, where there is one; None if there is no model."""
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
        stale=max(map(staleness, modules.values()), default=0.0),
    )


def is_plain(value: Any) -> bool:
    """Whether a value holds nothing but Python's own data; what a file may hold besides are stand-ins."""
    if isinstance(value, dict):
        return all(map(is_plain, [*value, *value.values()]))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (str, int, float))


def staleness(attention: StandIn) -> float:
    """Return how far a module's cached attention biases are from the trained ones; 0 if it has none.

    The authors' class computes the table `ab` from `attention_biases` when it is put into eval mode. YOLOv5's moving
    average changes the parameter and not the table, so the table in a file is that of the untrained network.
    """
    fields = fields_of(attention)
    cached = fields.get("ab")
    biases = fields.get("_parameters", {}).get("attention_biases")
    indices = fields.get("_buffers", {}).get("attention_bias_idxs")
    if cached is None or biases is None or indices is None:
        return 0.0
    return (biases.float()[:, indices] - cached.float()).abs().max().item()


def move_over(old: Path, cfg: Path | None = None) -> tuple[nn.Module, Move]:
    """Return the detector of an old file as a model of this checkout, in float32 and eval mode, and what was done.

    Args:
        old: a `.pt` that YOLOv5's train.py saved with the snippet.
        cfg: the yaml to build; that in the file if None.

    Raises:
        ValueError: the file holds no such detector, or does not fit the yaml; the message says what to do.
    """
    require_file(old, "give the best.pt or last.pt that was trained with the snippet")
    detector = read_safely(old, read_detector)
    if detector is None:
        raise ValueError(f"{old} holds no whole YOLOv5 model; give a best.pt or last.pt as train.py saves them")
    prefixes = [found.prefix for found in backbones_in("", detector.tensors, ())] or refuse(detector.tensors, str(old))
    prefix = prefixes[0]
    if len(prefixes) > 1:
        raise ValueError(f"{old} holds several backbones, at {', '.join(prefixes)}; only one can be converted")
    if prefix != BACKBONE:
        raise ValueError(
            f"{old} has its backbone at {prefix or 'the top'} and not at {BACKBONE}; only detectors whose yaml begins "
            "with the backbone can be converted"
        )
    if any(name.startswith(f"{BACKBONE}stem.") for name in detector.tensors):
        raise ValueError(f"{old} was made with this project; it needs no moving, give it to --weights as it is")
    state = rename_tensors(detector.tensors)
    backbone = {name[PREFIX_LENGTH:]: value for name, value in state.items() if name.startswith(BACKBONE)}
    variant = next((name for name, row in VARIANTS.items() if row.widths == widths_of(backbone)), "")
    if not variant:
        raise ValueError(
            f"{old}: its backbone's widths {widths_of(backbone)} fit no EfficientViT from M0 to M5, so it cannot "
            "be converted"
        )
    kernels = query_kernels_of(backbone)
    own_kernels = kernels == VARIANTS[variant].query_kernels[: max(VARIANTS[variant].heads)]
    args: list[Any] = [] if own_kernels else [{"query_kernels": list(kernels)}]
    yaml = with_backbone(cfg_of(detector, cfg, old), variant)
    host = import_host()
    if cfg is None:
        require_harmless(yaml, host, str(old))
    yaml["backbone"][0][3] = args
    model = build(host, detector, yaml, old, cfg or old)
    lines = load(model, detector, state, old)
    if args:
        lines.append(f"its query kernels are {kernels}, and so says the yaml in the new checkpoint")
    return model.float().eval(), Move(variant, len(state), lines)


def rename_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under our names; what is computed from others is left out."""
    state = {}
    for name, value in tensors.items():
        if name.startswith(BACKBONE):
            if not COMPUTED.search(name):
                state[BACKBONE + our_name(name[PREFIX_LENGTH:])] = value.float()
        elif not name.endswith(DERIVED):
            state[name] = value.float() if value.is_floating_point() else value
    return state


def cfg_of(detector: OldDetector, cfg: Path | None, old: Path) -> dict[str, Any]:
    """Return the yaml to build, with the classes of the old file."""
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


def with_backbone(yaml: dict[str, Any], variant: str) -> dict[str, Any]:
    """Return the yaml with our backbone in its first row. The snippet's own args mean nothing here."""
    yaml["backbone"][0][2:] = [variant, []]
    return yaml


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
    """Build the yaml by the checkout's own class, and give the model what train.py gives it: nc, hyp and names.

    Raises:
        ValueError: the checkout has no such class, or the strides came out otherwise.
    """
    model_class = getattr(host, detector.class_name, None)
    if model_class is None and detector.class_name == "DetectionModel":
        model_class = getattr(host, "Model", None)  # as it was called before v6.2
    if model_class is None:
        raise ValueError(f"{old} is a {detector.class_name}, which this YOLOv5 lacks; run this in a later release")
    try:
        model = model_class(yaml, ch=yaml.get("ch", 3))
        model.nc = yaml["nc"]
    except Exception as error:  # what a yaml can provoke has no end
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
    """Load every tensor, and return what had to be done for the model to compute what it did.

    Raises:
        ValueError: a tensor is missing, left over or of another shape.
    """
    expected = model.state_dict()
    head = anchors_of(expected)
    if head + DERIVED in expected and head == anchors_of(state) and detector.strides:
        anchors = state[f"{head}.anchors"] * torch.as_tensor(detector.strides).reshape(-1, 1, 1)
        state[head + DERIVED] = anchors.reshape(expected[head + DERIVED].shape)
    neutral = {name: expected.pop(name) for name in (BACKBONE + MEAN, BACKBONE + STD)}  # the snippet normalises nothing
    wrong = mismatch(expected, state)
    if wrong:
        raise ValueError(
            f"the tensors in {old} are not those of its yaml here: {wrong}. Give the yaml that it was trained with as "
            "--cfg; a neck with modules that this checkout lacks cannot be converted"
        )
    moved = move_eps(model, detector, state)
    model.load_state_dict({**neutral, **state})
    lines = [f"{moved} batch norms of the backbone had another eps, which their variance now contains"] if moved else []
    if detector.stale > 1e-3:
        lines.append(
            f"the cached attention biases are up to {detector.stale:.3g} from the trained ones; the trained ones are "
            "taken, as by val.py and detect.py. Scores printed during training were computed with the cache"
        )
    return lines


def anchors_of(state: dict[str, Tensor]) -> str:
    """Return the name of the module that holds the anchors."""
    return next((name[: -len(".anchors")] for name in state if name.endswith(".anchors")), "")


def move_eps(model: Any, detector: OldDetector, state: dict[str, Tensor]) -> int:
    """Let the backbone's batch norms divide by what they divided by; return how many had to be changed.

    YOLOv5 sets eps 1e-3 on every plain `nn.BatchNorm2d`, and so on those of the snippet. Ours keep the 1e-5 of the
    paper, so the difference goes into the variance, where no rebuilding from a yaml can lose it.
    """
    old_eps = {our_name(prefix[PREFIX_LENGTH:]): eps for prefix, eps in detector.eps.items()}
    moved = 0
    for name, part in model.model[0].named_modules():
        if isinstance(part, nn.BatchNorm2d):
            difference = old_eps[f"{name}."] - part.eps
            state[f"{BACKBONE}{name}.running_var"] += difference
            moved += bool(difference)
    return moved


def bring_over(old: Path, new: Path, cfg: Path | None) -> Move:
    """Write the new file, whole or not at all.

    Raises:
        ValueError: it cannot be written, or the content of the old one cannot be converted.
    """
    require_file(old, "give the best.pt or last.pt that was trained with the snippet")
    with new_file(new) as file:
        model, move = move_over(old.resolve(), cfg)
        # what train.py leaves in a finished best.pt; in float32, because rounding would undo some of what was moved
        save({"epoch": -1, "best_fitness": None, "model": model, "ema": None, "updates": None, "optimizer": None}, file)
    return move


def run(old: Path, new: Path, cfg: Path | None = None) -> int:
    """Convert the old file into the new one, and print what was done; return 1 if that fails, 130 after Ctrl-C."""
    try:
        move = bring_over(old, new, cfg)
    except ValueError as error:
        print_error(f"Not converted: {error}")
        return 1
    except KeyboardInterrupt:
        print_error("Not converted: interrupted")
        return 130
    except Exception as error:  # nobody should see a traceback
        print_error(f"Not converted: {type(error).__name__}: {error}. Nobody has foreseen this; please report it.")
        return 1
    last = f"{new}: {move.variant}, all {move.tensors} tensors of {old}; give it to --weights"
    text = "\n".join([*move.lines, last])
    if not print_line(text):
        print_error(text)
    return 0
