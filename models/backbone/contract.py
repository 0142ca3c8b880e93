"""The interface of a backbone that one yaml row can name."""

from __future__ import annotations

from typing import Any, Mapping

from torch import Tensor, nn

from .imported_twice import share_classes


class Backbone(nn.Module):
    """A layer that turns one image into several feature maps, finest first.

    A subclass sets `channels` and `strides` in its constructor, without a forward pass.
    YOLOv5 builds it as `Subclass(in_channels, *args)` from the yaml row `[-1, 1, Subclass, args]`.

    Attributes:
        channels: number of channels of each map, finest map first.
        strides: pixels of the image per cell of each map, ascending, for example `(8, 16, 32)`.
        notes: a line for the log after the backbone is built; "" for none.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    notes: str = ""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return maps `(B, channels[k], H / strides[k], W / strides[k])` of an image `(B, in_channels, H, W)`.

        Heights and widths that a stride does not divide are rounded up.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def fuse(self) -> Backbone:
        """Rewrite the layers for inference, in place and with the same outputs, and return self.

        The host's own `fuse()` calls it, and may do so more than once. The default fuses nothing.
        """
        return self

    def fit(self, state: Mapping[str, Tensor]) -> str:
        """Adapt the shapes of this backbone's tensors to a checkpoint, where it can.

        The host calls it before it loads the tensors that have the same name and shape here.

        Args:
            state: the checkpoint's tensors of this backbone, by the names in its `state_dict`.

        Returns:
            A text for the log on what was changed; "" for nothing.
        """
        return ""

    def begin_epoch(self, epoch: int) -> str:
        """Prepare for an epoch of training; the host calls it before `train()`.

        Args:
            epoch: its number, from 0 on; a resumed training starts with a later one.

        Returns:
            A text for the log if other parameters have gradients now; "" otherwise.
        """
        return ""

    def to_keras(self) -> Any:
        """Return a Keras layer, a `KerasBackbone`, that computes the same maps; for YOLOv5's export to TensorFlow.

        It maps an image `(B, H, W, in_channels)` to a list of maps `(B, H / strides[k], W / strides[k], channels[k])`,
        for inference only. The default raises.

        Raises:
            NotImplementedError: this backbone has no Keras layer.
        """
        raise NotImplementedError(f"{type(self).__name__} has no Keras layer")


class KerasBackbone:
    """The base class of Keras layers that return a list of maps."""


share_classes(globals(), "Backbone", "KerasBackbone")  # YOLOv5's files check for these classes
