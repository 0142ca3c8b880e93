"""What a backbone has to offer so that one yaml row can stand for it."""

from __future__ import annotations

from typing import Any, Mapping

from torch import Tensor, nn

from .imported_twice import share_classes


class Backbone(nn.Module):
    """A layer that turns one image into several feature maps, finest first.

    A subclass sets `channels` and `strides` in its constructor, from what it knows about itself and not by a forward
    pass. YOLOv5 builds it as `Subclass(in_channels, *args)` from the yaml row `[-1, 1, Subclass, args]`.

    Attributes:
        channels: channels of each map, finest map first.
        strides: pixels of the image per cell of each map, ascending, for example `(8, 16, 32)`.
        notes: what the user should read once in the log after the backbone is built; empty for nothing.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    notes: str = ""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map an image `(B, in_channels, H, W)` to one map `(B, channels[k], H / strides[k], W / strides[k])` each.

        Sizes that a stride does not divide are rounded up.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def fuse(self) -> Backbone:
        """Rewrite the layers for inference, in place and with the same outputs, and return self.

        Called by the host's own `fuse()`, perhaps more than once. A backbone with nothing to fuse keeps this default.
        """
        return self

    def fit(self, state: Mapping[str, Tensor]) -> str:
        """Take over from a checkpoint what decides the shapes of tensors, where this backbone can.

        The host calls it before it loads those tensors that have the same name and shape here.

        Args:
            state: the checkpoint's tensors of this backbone, by the names in its `state_dict`.

        Returns:
            What was changed, for the log; "" for nothing.
        """
        return ""

    def begin_epoch(self, epoch: int) -> str:
        """Do what is due at the beginning of an epoch of training, before the host calls `train()`.

        Args:
            epoch: its number, from 0 on; a resumed training begins with a later one.

        Returns:
            What has changed in which parameters have gradients, for the log; "" for nothing.
        """
        return ""

    def to_keras(self) -> Any:
        """Return a Keras layer, a `KerasBackbone`, that computes the same maps; for YOLOv5's export to TensorFlow.

        It maps an image `(B, H, W, in_channels)` to a list of maps `(B, H / strides[k], W / strides[k], channels[k])`,
        for inference alone. A backbone without one keeps this default.

        Raises:
            NotImplementedError: there is none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no Keras layer")


class KerasBackbone:
    """What marks a Keras layer as one that returns a list of maps."""


share_classes(globals(), "Backbone", "KerasBackbone")  # YOLOv5's files ask for these classes
