"""Builds the backbones of a yaml's rows, and numbers the layers after them."""

from __future__ import annotations

import inspect
import re
from typing import Any, Callable, Sequence

from torch import nn

from ..contract import Backbone
from ..registry import backbone_class, registered_names
from .index_rule import fill_indices, index_count
from .layer_table import LayerTable


class BackboneRows:
    """The backbone rows of one yaml and their layer indices, while the host's `parse_model` goes through the rows.

    Args:
        log: writes a line of the host's layer table.
        image_channels_kept: whether the first entry of the host's list of channels stays the image's, as before
            YOLOv5 v5.0: `channels[k + 1]`, not `channels[k]`, then belongs to layer k.
    """

    def __init__(self, log: Callable[[str], Any], image_channels_kept: bool = False) -> None:
        self.log = log
        self.image_channels_kept = image_channels_kept
        self.indices_added = 0  # difference between layer index and row number
        self.table = LayerTable()

    def layer_index(
        self, row: int, source: int | Sequence[int], name: Any, args: Sequence[Any], channels: Sequence[int]
    ) -> int:
        """Return the first layer index of yaml row number `row`.

        Args:
            row: the row's number in the yaml; the head continues the count of the backbone.
            source: the `from` of the row.
            name: its module.
            args: its args.
            channels: the host's list of each layer's channels.

        Raises:
            ValueError: `from` names an empty index of a backbone, or a layer that is not built yet, or Concat joins
                maps of different strides. In a yaml without a backbone, the host itself reports these.
        """
        index = row + self.indices_added
        sources = [source] if isinstance(source, int) else source
        if not (isinstance(sources, (list, tuple)) and all(isinstance(entry, int) for entry in sources)):
            self.table.add(name, args, [])
            return index  # a fork's own syntax
        problem = self.table.find_problem(name, sources) if self.indices_added else ""
        warning = self.table.find_warning(name, sources) if self.indices_added and not problem else ""
        if problem or warning:
            contents = f"the layers before it hold\n{self.table.describe(self.channels_by_layer(channels))}"
            place = f"yaml row {row} ({name}, layer {index}): its from {source} {problem or warning}."
            if problem:
                raise ValueError(f"{place} Correct it; {contents}")
            self.log(f"WARNING {place} If that is not meant, correct it; {contents}")
        if not self.is_backbone(name):
            self._refuse_misspelt(row, name)
            self.table.add(name, args, sources)
        return index

    def channels_by_layer(self, channels: Sequence[int]) -> Sequence[int]:
        """Return the host's list of channels without an entry for the image; empty before the first layer."""
        return channels[1:] if self.image_channels_kept or not self.table.strides else channels

    def _refuse_misspelt(self, row: int, name: Any) -> None:
        """Raise a ValueError for a name that differs from ours only in case or number; the host would not know it."""
        if isinstance(name, str) and letters_only(name) in map(letters_only, registered_names()):
            raise ValueError(f"yaml row {row}: there is no {name}; the backbones are {', '.join(registered_names())}")

    def is_backbone(self, name: Any) -> bool:
        """Whether the module of a yaml row is a registered backbone."""
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
            channels: the host's list of each layer's channels; at row 0 only the image's.
            save: the host's list of layers whose outputs are kept; a source of this row is appended.
            layers: the host's list of modules; the backbone is appended.

        Returns:
            The host's list of channels, extended by this backbone's; 0 for an empty index.

        Raises:
            ValueError: `from` is a list, or the number is not 1, or the backbone refuses its args.
        """
        row = index - self.indices_added
        require_buildable(f"yaml row {row} ({name})", index, source, repeats)
        layer_channels = list(self.channels_by_layer(channels))
        in_channels = layer_channels[source] if layer_channels else channels[-1]
        backbone = self.build_backbone(row, in_channels, name, args)
        layer = self.to_host_layer(backbone)
        last = index + index_count(len(backbone.channels)) - 1
        parameters = sum(parameter.numel() for parameter in backbone.parameters())
        kind = f"{type(backbone).__module__}.{type(backbone).__name__}"
        table_args = str([in_channels, *args])
        self.log(f"{last:>3}{source!s:>18}{repeats:>3}{parameters:>10}  {kind:<39} {table_args:<30}")
        if backbone.notes:
            self.log(backbone.notes)

        for attribute, value in {"i": last, "f": source, "type": kind, "np": parameters}.items():
            setattr(layer, attribute, value)  # the host reads these from each layer
        if source != -1:
            save.append(source % index)
        layers.append(layer)
        (stride,) = self.table.strides_of([source])
        self.table.strides += fill_indices([stride * factor if stride else 0 for factor in backbone.strides])
        self.indices_added += index_count(len(backbone.channels)) - 1
        image = list(channels[:1]) if self.image_channels_kept else []
        return image + layer_channels + [width or 0 for width in fill_indices(backbone.channels)]

    def build_backbone(self, row: int, in_channels: int, name: str, args: Sequence[Any]) -> Backbone:
        """Return the backbone that yaml row number `row` names.

        Raises:
            ValueError: its class does not take the args.
        """
        try:
            if not isinstance(args, (list, tuple)):
                raise TypeError("a list, in brackets")
            named = args[-1] if args and isinstance(args[-1], dict) else {}
            arguments = [parse_none(argument) for argument in (args[:-1] if named else args)]
            keywords = {key: parse_none(argument) for key, argument in named.items()}
            inspect.signature(backbone_class(name)).bind(in_channels, *arguments, **keywords)  # its errors are plain
            return backbone_class(name)(in_channels, *arguments, **keywords)
        except TypeError as error:
            _, *parameters = inspect.signature(backbone_class(name)).parameters
            raise ValueError(
                f"yaml row {row} ({name}): its args are [{', '.join(parameters)}], the last ones also by name, as in "
                f"[{{{parameters[0]}: ...}}], not {args} ({error})"
            ) from error

    def to_host_layer(self, backbone: Backbone) -> Any:
        """Return the layer that the host runs for a backbone: the backbone itself."""
        return backbone


def require_buildable(row: str, index: int, source: Any, repeats: int) -> None:
    """Check `from` and number of a backbone's row.

    Raises:
        ValueError: there is not just one input, or the number is not 1; the message begins with `row`.
    """
    if not isinstance(source, int):
        raise ValueError(f"{row}: a backbone takes one input; from is {source}, make it one index, usually -1")
    if repeats != 1:
        raise ValueError(f"{row}: a backbone cannot be repeated; change its second entry from {repeats} to 1")
    if index == 0 and source != -1:
        raise ValueError(f"{row}: a backbone reads the image; change its first entry from {source} to -1")


def parse_none(argument: Any) -> Any:
    """Return None for the text "None", as the host's yamls spell it, and any other argument unchanged."""
    return None if argument == "None" else argument


def letters_only(name: str) -> str:
    """Return the letters of a name in lower case, to compare names that may be misspelt."""
    return re.sub(r"[\d_]", "", name).lower()
