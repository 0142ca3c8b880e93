"""The strides of a yaml's layers, as far as its rows tell, to find a wrong `from`."""

from __future__ import annotations

from typing import Any, Sequence

# Modules of YOLOv5 that keep the size of the map; the stride of modules in neither set counts as unknown.
KEEP_SIZE = {"Bottleneck", "BottleneckCSP", "C3", "C3Ghost", "C3SPP", "C3TR", "C3x", "SPP", "SPPF"}
STRIDED = {"Conv", "CrossConv", "DWConv", "GhostConv"}  # args: channels, kernel size, stride
HEADS = {"Detect", "Segment"}


class LayerTable:
    """Strides of the layers of one yaml, in pixels of the image per cell, by layer index.

    0 stands for an unknown stride, None for an empty index of a backbone.
    """

    def __init__(self) -> None:
        self.strides: list[float | None] = []

    def strides_of(self, sources: Sequence[int]) -> list[float | None]:
        """Return the stride of each source.

        A negative source counts back from the next layer; before the first layer, -1 is the image.

        Raises:
            IndexError: there is no such layer.
        """
        following = len(self.strides)
        absolute = [source if source >= 0 else following + source for source in sources]
        if any(not -1 <= index < following or (index == -1 and following) for index in absolute):
            raise IndexError
        return [self.strides[index] if index >= 0 else 1 for index in absolute]

    def add(self, name: Any, args: Sequence[Any], sources: Sequence[int]) -> None:
        """Add the next layer, which is no backbone."""
        try:
            known = {stride for stride in self.strides_of(sources) if stride}
        except IndexError:
            known = set()
        self.strides.append(known.pop() * stride_factor(name, args) if len(known) == 1 else 0)

    def find_problem(self, name: Any, sources: Sequence[int]) -> str:
        """Return what is wrong with the `from` of the next layer; "" if nothing is known to be."""
        try:
            strides = self.strides_of(sources)
        except IndexError:
            return f"is not one of the layers before {len(self.strides)}"
        if None in strides:
            return "holds no feature map"
        if name == "Concat" and 0 not in strides and len(set(strides)) > 1:
            return f"joins maps of stride {' and '.join(f'{stride:g}' for stride in strides)}"
        return ""

    def find_warning(self, name: Any, sources: Sequence[int]) -> str:
        """Return what is unusual about a `from` that is no problem, because YOLOv5 runs it; "" for nothing."""
        strides = self.strides_of(sources)
        if name in HEADS and 0 not in strides and len(set(strides)) < len(strides):
            return f"reads two maps of one stride ({' and '.join(f'{stride:g}' for stride in strides)})"
        return ""

    def describe(self, channels: Sequence[int]) -> str:
        """Return a line for each index with what it holds; `channels` is by layer index."""
        lines = []
        for index, (stride, width) in enumerate(zip(self.strides, channels)):
            size = "nothing" if stride is None else f"{width} channels" + (f", stride {stride:g}" if stride else "")
            lines.append(f"  {index:>3}: {size}")
        return "\n".join(lines)


def stride_factor(name: Any, args: Sequence[Any]) -> float:
    """Return the factor by which a module multiplies the stride; 0 if it is unknown."""
    if not (isinstance(name, str) and isinstance(args, (list, tuple))):
        return 0
    if name in KEEP_SIZE or name == "Concat":
        return 1
    if name in STRIDED:
        stride = args[2] if len(args) > 2 else 1
        return stride if isinstance(stride, int) else 0
    if name == "nn.Upsample" and len(args) > 1 and isinstance(args[1], int):
        return 1 / args[1]
    return 0
