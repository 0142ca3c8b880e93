"""The functions that the inserted lines in YOLOv5 call: for the rows of a yaml, the maps, and the training.

The lines in models/tf.py call `keras_rows` instead.
"""

from ..contract import Backbone
from .rows import BackboneRows
from .running import fuse_backbones, unpack_maps
from .training import begin_epoch, train_whole_backbones, warn_of_cut_neck, warn_of_frozen_neck
from .transfer import fit_backbones, forget_weights

__all__ = [
    "Backbone",
    "BackboneRows",
    "begin_epoch",
    "fit_backbones",
    "forget_weights",
    "fuse_backbones",
    "train_whole_backbones",
    "unpack_maps",
    "warn_of_cut_neck",
    "warn_of_frozen_neck",
]
