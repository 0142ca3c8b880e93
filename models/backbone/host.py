"""What the lines that apply_patch.py inserts into YOLOv5's models/yolo.py call: building, running and fusing."""

from __future__ import annotations

import inspect
import re
from typing import Any, Callable, Iterable, Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from .contract import Backbone
from .index_rule import fill_indices, index_count
from .layer_table import LayerTable
from .registry import backbone_class, registered_names

__all__ = [
    "Backbone",
    "BackboneRows",
    "fuse_backbones",
    "train_whole_backbones",
    "unpack_maps",
    "warn_of_cut_neck",
    "warn_of_frozen_neck",
]


class BackboneRows:
    """The backbone rows of one yaml while the host's `parse_model` goes through it, and the indices they take.

    Args:
        log: writes a line of the host's layer table.
        image_channels_kept: whether the first entry of the host's list of channels stays the image's, as before
            YOLOv5 v5.0, so that `channels[k + 1]` and not `channels[k]` belongs to layer k.
    """

    def __init__(self, log: Callable[[str], Any], image_channels_kept: bool = False) -> None:
        self.log = log
        self.image_channels_kept = image_channels_kept
        self.indices_added = 0  # how far the layer indices run ahead of the yaml's row numbers
        self.table = LayerTable()

    def layer_index(
        self, row: int, source: int | Sequence[int], name: Any, args: Sequence[Any], channels: Sequence[int]
    ) -> int:
        """Return the first layer index of yaml row number `row`.

        Args:
            row: the row's number in the yaml, backbone and head counted through.
            source: its `from`.
            name: its module.
            args: its args.
            channels: the host's list of each layer's channels.

        Raises:
            ValueError: `from` names an index at which a backbone holds nothing, or one that is not built yet, or
                Concat joins maps of different strides. Only where the yaml has a backbone; its own rows are the host's
                to refuse.
        """
        index = row + self.indices_added
        sources = [source] if isinstance(source, int) else source
        if not (isinstance(sources, (list, tuple)) and all(isinstance(wanted, int) for wanted in sources)):
            self.table.add(name, args, [])
            return index  # a dialect of some fork
        problem = self.table.problem(name, sources) if self.indices_added else ""
        doubt = self.table.doubt(name, sources) if self.indices_added and not problem else ""
        if problem or doubt:
            held = f"the layers before it hold\n{self.table.describe(self.by_layer(channels))}"
            what = f"yaml row {row} ({name}, layer {index}): its from {source} {problem or doubt}."
            if problem:
                raise ValueError(f"{what} Correct it; {held}")
            self.log(f"WARNING {what} If that is not meant, correct it; {held}")
        if not self.is_backbone(name):
            self._refuse_misspelt(row, name)
            self.table.add(name, args, sources)
        return index

    def by_layer(self, channels: Sequence[int]) -> Sequence[int]:
        """Return the host's list of channels without an entry for the image; empty before the first layer."""
        return channels[1:] if self.image_channels_kept or not self.table.strides else channels

    def _refuse_misspelt(self, row: int, name: Any) -> None:
        """Refuse a name that is one of ours but for its letters' case or its number; the host would not know it."""
        if isinstance(name, str) and letters_of(name) in map(letters_of, registered_names()):
            raise ValueError(f"yaml row {row}: there is no {name}; the backbones are {', '.join(registered_names())}")

    def is_backbone(self, name: Any) -> bool:
        """Tell whether the module of a yaml row is a registered backbone."""
        return isinstance(name, str) and name in registered_names()

    def build(
        self,
        index: int,
        source: int,
        repeats: int,
        name: str,
        args: Sequence[Any],
        channels: Sequence[int],
        save: list[int],
        layers: list[nn.Module],
    ) -> list[int]:
        """Build the backbone of one row, append it to `layers`, and log its row of the layer table.

        Args:
            index: the row's first layer index, from `layer_index`.
            source, repeats, name, args: the row: from, number, module, args.
            channels: the host's list of each layer's channels; at row 0 that of the image alone.
            save: the host's list of layers whose outputs are kept; extended.
            layers: the host's list of modules; extended.

        Returns:
            The host's list of channels with this backbone's; 0 where an index holds nothing.

        Raises:
            ValueError: `from` is a list, or the number is not 1, or the backbone refuses its args.
        """
        row = f"yaml row {index - self.indices_added} ({name})"
        if not isinstance(source, int):
            raise ValueError(f"{row}: a backbone takes one input; from is {source}, make it one index, usually -1")
        if repeats != 1:
            raise ValueError(f"{row}: a backbone stands once; its number is {repeats}, make it 1")
        if index == 0 and source != -1:
            raise ValueError(f"{row}: there is no layer {source} in front of it; its from is the image, -1")
        of_layers = list(self.by_layer(channels))
        in_channels = of_layers[source] if of_layers else channels[-1]
        backbone = self.make(index - self.indices_added, in_channels, name, args)
        layer = self.form(backbone)

        first, last = index, index + index_count(len(backbone.channels)) - 1
        parameters = sum(parameter.numel() for parameter in backbone.parameters())
        kind = f"{type(backbone).__module__}.{type(backbone).__name__}"
        for attribute, value in {"i": last, "f": source, "type": kind, "np": parameters}.items():
            setattr(layer, attribute, value)  # what the host reads of each layer
        table_args = str([in_channels, *args])
        self.log(f"{last:>3}{source!s:>18}{repeats:>3}{parameters:>10}  {kind:<39} {table_args:<30}")
        if backbone.notes:
            self.log(backbone.notes)

        if source != -1:
            save.append(source % first)
        layers.append(layer)
        (stride,) = self.table.of([source])
        self.table.strides += fill_indices([stride * grown if stride else 0 for grown in backbone.strides])
        self.indices_added += index_count(len(backbone.channels)) - 1
        image = list(channels[:1]) if self.image_channels_kept else []
        return image + of_layers + [held or 0 for held in fill_indices(backbone.channels)]

    def make(self, row: int, in_channels: int, name: str, args: Sequence[Any]) -> Backbone:
        """Return the backbone that yaml row number `row` names.

        Raises:
            ValueError: it refuses its args.
        """
        try:
            if not isinstance(args, (list, tuple)):
                raise TypeError("a list, in brackets")
            arguments = [None if argument == "None" else argument for argument in args]
            return backbone_class(name)(in_channels, *arguments)
        except TypeError as error:
            _, *taken = inspect.signature(backbone_class(name)).parameters
            raise ValueError(
                f"yaml row {row} ({name}): its args are [{', '.join(taken)}], not {args} ({error})"
            ) from error

    def form(self, backbone: Backbone) -> Any:
        """Return what stands for a backbone among the host's layers: itself."""
        return backbone


def letters_of(name: str) -> str:
    """Return the letters of a name, small, for comparing names that people misspell."""
    return re.sub(r"[\d_]", "", name).lower()


def unpack_maps(layer: Any, maps: Sequence[Tensor], outputs: list[Tensor | None], save: Iterable[int]) -> Tensor:
    """Append to the host's `outputs` what the backbone's indices hold, all but the last, which is returned.

    A map that no later layer asks for (its index is not in `save`) is let go, as the host does.
    """
    *earlier, last = fill_indices(maps)
    first = len(outputs)
    outputs.extend(held if index in save else None for index, held in enumerate(earlier, first))
    assert last is not None
    return last


def fuse_backbones(layers: Iterable[nn.Module]) -> None:
    """Fuse every backbone among the host's layers."""
    for layer in layers:
        if isinstance(layer, Backbone):
            layer.fuse()


def warn_of_frozen_neck(model: Any, log: Callable[[str], Any]) -> None:
    """Say so where the host has frozen modules behind a backbone: `--freeze N` counts modules, not layers.

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
    """Say so where a classifier that is cut from a detector does not keep its backbone, or keeps a part of its neck.

    Args:
        model: the host's detector, not cut yet; `model` is its sequence of layers, `yaml` its configuration.
        cutoff: how many modules the host keeps; the classifier takes the place of the last.
        log: writes a line of the host's log.
    """
    backbones = [position for position, layer in enumerate(model.model) if isinstance(layer, Backbone)]
    if not (backbones and isinstance(cutoff, int) and cutoff > 0):
        return
    shortest = backbones[-1] + 2
    whole = max(shortest, len((getattr(model, "yaml", None) or {}).get("backbone", ())))
    if not shortest <= cutoff <= whole:
        name = type(model.model[backbones[-1]]).__name__
        kept = "keeps a part of the neck, which may not run by itself" if cutoff > whole else "cuts the backbone off"
        log(
            f"WARNING --cutoff counts modules, and {name} is one of them: --cutoff {cutoff} {kept}. To keep the "
            f"backbone alone, use --cutoff {whole}."
        )


def train_whole_backbones(optimizer: Optimizer, model: nn.Module, log: Callable[[str], Any]) -> None:
    """Let the host's optimizer train every parameter of the backbones, with weight decay for weights of layers alone.

    YOLOv5 up to v6.2 takes the parameters that are called `weight` or `bias`, and no others: layer scales, position
    tables and class tokens would stay as they began. Later releases give these the weight decay of convolutions, and
    v5.0 to v6.1 do so with the weights of layer norms. Here all of them train without it, as batch norms do. v6.1
    leaves AdamW's own weight decay of 0.01 to batch norms and biases; it is taken from them, those of the neck too.

    They join the group of the batch norms' weights. The host relies on its three groups: it warms up the biases' by
    number, and writes a column of results.csv for each. A resumed run needs them there before the optimizer's state.

    A model without backbones trains as before, and so does one of a fork whose optimizer has no group for batch norms;
    the log says so. Parameters without gradient are left where they are.

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

    trained = [item for backbone in backbones for item in backbone.named_parameters() if item[1].requires_grad]
    missing = [parameter for _, parameter in trained if id(parameter) not in groups]
    spared = [
        parameter
        for name, parameter in trained
        if not is_layer_weight(name, parameter) and groups.get(id(parameter), without_decay)["weight_decay"]
    ]
    spared_ids = {id(parameter) for parameter in spared}
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in spared_ids]
    without_decay["params"] += missing + spared
    if missing or spared:
        log(
            f"{type(backbones[0]).__name__}: the optimizer takes {len(missing)} parameters that YOLOv5 leaves out, and "
            f"spares {len(spared)} others the weight decay"
        )


def is_layer_weight(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is the weight of a convolution or a linear layer, which weight decay is for."""
    return "weight" in name.rpartition(".")[2] and parameter.dim() > 1
