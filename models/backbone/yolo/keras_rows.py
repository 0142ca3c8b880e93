"""The functions that the inserted lines in YOLOv5's models/tf.py call; importing it imports no TensorFlow."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, Sequence

from torch import nn

from ..contract import Backbone, KerasBackbone
from .rows import BackboneRows
from .running import unpack_maps

__all__ = ["KerasBackbone", "TensorFlowRows", "unpack_maps"]


class TensorFlowRows(BackboneRows):
    """The backbone rows of one yaml while the host's `parse_model` builds Keras layers from a PyTorch model.

    `number()` must be called before the first row.
    """

    def number(self, model: Any) -> SimpleNamespace:
        """Return a substitute for the host's PyTorch `model`, with the layer of index k as `model[k]`.

        The host reads `model.model[k]` for its row k, but after a backbone the layer indices are larger than the rows'.
        """
        self.modules: Sequence[nn.Module] = list(model.model)  # one for each row
        return SimpleNamespace(model={module.i: module for module in self.modules})

    def build_backbone(self, row: int, in_channels: int, name: str, args: Sequence[Any]) -> Backbone:
        """Return a copy of the PyTorch backbone of yaml row number `row`; a weights file in the row is ignored.

        Raises:
            NotImplementedError: it has no Keras layer.
        """
        backbone = self.modules[row]
        assert isinstance(backbone, Backbone)
        if type(backbone).to_keras is Backbone.to_keras:
            raise NotImplementedError(
                f"yaml row {row}: {name} cannot be exported to TensorFlow formats (saved_model, pb, tflite, edgetpu, "
                "tfjs), because it has no to_keras(). Export it to ONNX or OpenVINO, or train EfficientViT_M0 to M5."
            )
        backbone = copy.deepcopy(backbone)
        backbone.notes = ""  # they describe the weights that it was initialised with
        return backbone

    def to_host_layer(self, backbone: Backbone) -> Any:
        """Return the Keras layer that computes the same as the backbone."""
        return backbone.to_keras()
