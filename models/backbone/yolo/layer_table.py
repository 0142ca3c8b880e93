"""Which layer index holds what, as far as it can be told from a yaml's rows, so that a wrong `from` is named."""

from __future__ import annotations

from typing import Any, Sequence

# Modules of YOLOv5 that keep the size of the map; the stride of others is taken for unknown.
KEEP_SIZE = {"Bottleneck", "BottleneckCSP", "C3", "C3Ghost", "C3SPP", "C3TR", "C3x", "SPP", "SPPF"}
STRIDED = {"Conv", "CrossConv", "DWConv", "GhostConv"}  # args: channels, kernel size, stride
HEADS = {"Detect", "Segment"}


class LayerTable:
    """Strides of the layers of one yaml, in pixels of the image per cell, by layer index.

    A layer whose stride cannot be told has 0; an index at which a backbone holds nothing has None.
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
        """Enter the next layer, of a module other than a backbone."""
        try:
            known = {stride for stride in self.strides_of(sources) if stride}
        except IndexError:
            known = set()
        self.strides.append(known.pop() * stride_factor(name, args) if len(known) == 1 else 0)

    def find_problem(self, name: Any, sources: Sequence[int]) -> str:
        """Return what is wrong with the `from` of the next layer; nothing if it is right, or cannot be told."""
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
        """Return what is unusual about a `from` that `find_problem` lets pass; YOLOv5 runs it."""
        strides = self.strides_of(sources)
        if name in HEADS and 0 not in strides and len(set(strides)) < len(strides):
            return f"reads two maps of one stride ({' and '.join(f'{stride:g}' for stride in strides)})"
        return ""

    def describe(self, channels: Sequence[int]) -> str:
        """List what each index holds, a line each; `channels` is by layer index."""
        lines = []
        for index, (stride, width) in enumerate(zip(self.strides, channels)):
            size = "nothing" if stride is None else f"{width} channels" + (f", stride {stride:g}" if stride else "")
            lines.append(f"  {index:>3}: {size}")
        return "\n".join(lines)


def stride_factor(name: Any, args: Sequence[Any]) -> float:
    """Return the factor by which a module multiplies the stride, or 0 if it cannot be told."""
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
