"""What the lines that apply_patch.py inserts into YOLOv5's models/yolo.py call: building, running and fusing."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Sequence

from torch import Tensor, nn

from .contract import Backbone
from .index_rule import fill_indices, index_count
from .registry import backbone_class, registered_names

__all__ = ["Backbone", "BackboneRows", "fuse_backbones", "unpack_maps"]


class BackboneRows:
    """The backbone rows of one yaml while the host's `parse_model` goes through it, and the indices they take.

    Args:
        log: writes a line of the host's layer table.
    """

    def __init__(self, log: Callable[[str], Any]) -> None:
        self.log = log
        self.indices_added = 0  # how far the layer indices run ahead of the yaml's row numbers
        self.holds: dict[int, str] = {}  # what each index of a backbone holds, in words
        self.empty: set[int] = set()

    def layer_index(self, row: int, source: int | Sequence[int], name: Any) -> int:
        """Return the first layer index of yaml row number `row`.

        Args:
            row: the row's number in the yaml, backbone and head counted through.
            source: its `from`.
            name: its module, for the message.

        Raises:
            ValueError: `from` names an index at which a backbone holds nothing, or one that is not built yet.
        """
        index = row + self.indices_added
        for wanted in [source] if isinstance(source, int) else source:
            absolute = wanted if wanted >= 0 else index + wanted
            if self.holds and (absolute in self.empty or not 0 <= absolute < index):
                why = "holds no feature map" if absolute in self.empty else f"is not one of the layers before {index}"
                held = "; ".join(f"{k}: {what}" for k, what in self.holds.items())
                raise ValueError(
                    f"yaml row {row} ({name}, layer {index}): from {wanted} {why}. The backbone holds {held}; the rows "
                    f"after it count on from {max(self.holds) + 1}. Correct the row's from."
                )
        return index

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
            The channels of each layer index, up to this backbone's last; 0 where it holds nothing.

        Raises:
            ValueError: `from` is a list, or the number is not 1, or the backbone refuses its args.
        """
        row = f"yaml row {index - self.indices_added} ({name})"
        if not isinstance(source, int):
            raise ValueError(f"{row}: a backbone takes one input; from is {source}, make it one index, usually -1")
        if repeats != 1:
            raise ValueError(f"{row}: a backbone stands once; its number is {repeats}, make it 1")
        in_channels = channels[source]
        arguments = [None if argument == "None" else argument for argument in args]
        try:
            layer = backbone_class(name)(in_channels, *arguments)
        except TypeError as error:
            raise ValueError(f"{row}: its args {list(args)} do not fit: {error}") from error

        first, last = index, index + index_count(len(layer.channels)) - 1
        parameters = sum(parameter.numel() for parameter in layer.parameters())
        kind = f"{type(layer).__module__}.{type(layer).__name__}"
        for attribute, value in {"i": last, "f": source, "type": kind, "np": parameters}.items():
            setattr(layer, attribute, value)  # what the host reads of each layer
        table_args = str([in_channels, *args])
        self.log(f"{last:>3}{source!s:>18}{repeats:>3}{parameters:>10}  {kind:<39} {table_args:<30}")
        if layer.notes:
            self.log(layer.notes)

        if source != -1:
            save.append(source % first)
        layers.append(layer)
        self._remember(first, layer)
        before = list(channels) if first else []  # at row 0 the list holds the image's channels, which are no layer's
        return before + [held or 0 for held in fill_indices(layer.channels)]

    def _remember(self, first: int, layer: Backbone) -> None:
        held = fill_indices(list(zip(layer.strides, layer.channels)))
        for index, stride_and_channels in enumerate(held, first):
            if stride_and_channels is None:
                self.empty.add(index)
                self.holds[index] = "nothing"
            else:
                self.holds[index] = "stride {}, {} channels".format(*stride_and_channels)
        self.indices_added += len(held) - 1


def unpack_maps(layer: Backbone, maps: Sequence[Tensor], outputs: list[Tensor | None], save: Iterable[int]) -> Tensor:
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
