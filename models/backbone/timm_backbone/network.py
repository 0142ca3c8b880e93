"""Any model of timm with feature maps as a YOLOv5 backbone, by one yaml row.

timm: https://github.com/huggingface/pytorch-image-models. The row is `[-1, 1, TimmBackbone, [model_name, weights,
strides, image_size, normalize, frozen_stages, options, frozen_epochs]]`, all but the name optional.
"""

from __future__ import annotations

import logging
from typing import Any, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..exporting import is_exporting
from ..frozen import FreezableBackbone, FrozenParameter, PausedParameter, checked_epochs
from ..normalization import NEUTRAL, Normalization, chosen_statistics
from .adapt import caches_biases, drop_idle, forget_biases, keep_as_built, restore_synced_activations
from .freeze import freeze_named, frozen_modules, frozen_names
from .fuse import count_norms, fuse_model
from .plan import make_plan, maps_of
from .sizes import describe_sizes, pad_borders, pad_image
from .trace import pin_frozen_shape
from .weights import build_model, published_statistics

LOGGER = logging.getLogger(__name__)

DEFAULT_STRIDES = (8, 16, 32)


class TimmBackbone(FreezableBackbone):
    """A model of timm, `(B, in_channels, H, W)` to one map `(B, channels[k], ceil(H / strides[k]), ...)` per stride.

    If the model accepts only some image sizes, such as multiples of its attention windows, the image is zero-padded at
    the bottom and right, and the maps are cropped.

    It starts in eval mode, with or without weights: YOLOv5 finds its strides by a forward pass of one black image,
    which must not change the batch-norm statistics, and with which batch norms of pooled maps cannot train at all.

    Args:
        in_channels: number of channels of the image.
        model_name: a name for `timm.create_model`, with or without the tag of its weights.
        weights: False for random ones, True for those of timm's hub, or the path of a `.safetensors`, `.pth` or `.bin`
            file of a timm model.
        strides: of the maps, ascending. Of levels with the same stride the deepest is used.
        image_size: pixels. For a model of a single image size, the `--img-size` of training and detection, 640 if None:
            the model is built for the larger images of YOLOv5's validation, and smaller ones are padded. For other
            models, the size that windows or tables are built for, the published one if None.
        normalize: True to normalise images as in the training of the weights, by timm's `pretrained_cfg`, and not at
            all with random weights; False never to normalise; or `[[mean, ...], [deviation, ...]]` of each channel, for
            images from 0 to 1.
        frozen_stages: how many parts to freeze, starting at the image: 0 for none, 1 for the stem, n also for the parts
            that the first n - 1 maps depend on. Their batch-norm statistics are frozen too.
        options: keyword arguments of `timm.create_model`, such as `{"drop_path_rate": 0.1}`.
        frozen_epochs: for how many epochs of training the parts of `frozen_stages` are frozen, or all parts if
            `frozen_stages` is 0; afterwards everything trains. 0 keeps the parts frozen.

    Raises:
        ValueError: timm has no such model, the model has no map of a stride, cannot take images of several sizes, or
            the weights do not fit; the message says which, and what is possible instead.
    """

    frozen_names: frozenset[str] = frozenset()
    needs_border_padding = True  # for networks pickled without this attribute; always right, but slower

    def __init__(
        self,
        in_channels: int,
        model_name: str,
        weights: bool | str | None = False,
        strides: Sequence[int] = DEFAULT_STRIDES,
        image_size: int | None = None,
        normalize: bool | Sequence[Sequence[float]] = True,
        frozen_stages: int = 0,
        options: Mapping[str, Any] | None = None,
        frozen_epochs: int = 0,
    ) -> None:
        super().__init__()
        check_row(model_name, weights, strides, image_size, frozen_stages, options)
        plan = make_plan(model_name, in_channels, strides, image_size, options)
        self.model_name, self.in_channels = model_name, in_channels
        self.channels, self.strides, self.sizes = plan.channels, plan.strides, plan.sizes
        self.fused, self.needs_border_padding = False, plan.needs_border_padding
        self.net = build_model(model_name, plan.options, weights)
        trained_on = published_statistics(self.net) if weights else NEUTRAL
        statistics = chosen_statistics("TimmBackbone", normalize, in_channels, trained_on)
        self.normalization = Normalization(in_channels, statistics)
        self.frozen_epochs = checked_epochs("TimmBackbone", frozen_epochs)
        frozen_stages = frozen_stages or (1 + len(plan.strides) if frozen_epochs else 0)
        self.frozen_names = frozen_names(model_name, plan, frozen_stages)
        drop_idle(self.net, plan)
        keep_as_built(self.net)
        self.caches_biases = caches_biases(self.net)
        notes = [describe_weights(weights), describe_sizes(plan.sizes), self.normalization.describe()]
        if frozen_stages:
            epochs = f" for {frozen_epochs} epochs" if frozen_epochs else ""
            notes.append(f"{len(self.frozen_names)} tensors frozen{epochs}")
        self.notes = f"TimmBackbone: {model_name}, {', '.join(notes)}"
        self.stay_frozen()
        self.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        height, width = x.shape[2:]
        x = pad_image(self.normalization(x), self.sizes, self.model_name)
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            x = pin_frozen_shape(x, self.net, self.sizes, self.model_name)
        maps = maps_of(self.net, x)
        if self.caches_biases:
            forget_biases(self.net)
        fitted = []
        for stride, feature_map in zip(self.strides, maps):
            if self.needs_border_padding or not is_exporting():
                feature_map = pad_borders(feature_map, cells(x.shape[2], stride), cells(x.shape[3], stride))
            fitted.append(feature_map[:, :, : cells(height, stride), : cells(width, stride)])
        return fitted

    def frozen_modules(self) -> Iterator[nn.Module]:
        return frozen_modules(self.net, self.frozen_names)

    def freeze_parts(self) -> None:
        freeze_named(self.net, self.frozen_names, PausedParameter if self.frozen_epochs else FrozenParameter)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Set a child as every module does; `convert_sync_batchnorm`, for YOLOv5's --sync-bn, calls this."""
        super().add_module(name, module)
        restore_synced_activations(self)

    def fuse(self) -> TimmBackbone:
        """Let timm reparameterize the model, and fold batch norms into convolutions that nothing else reads."""
        if not self.fused:
            before = count_norms(self.net)
            fuse_model(self.net, (1, self.in_channels, self.sizes.smallest, self.sizes.smallest))
            self.normalization.fuse(next(self.parameters()).dtype)
            self.fused = True
            if before and count_norms(self.net) == before:
                LOGGER.warning(
                    f"TimmBackbone: none of the {before} batch norms of {self.model_name} could be folded into a "
                    "convolution. They stay; the results are right."
                )
        return self


def check_row(model_name: Any, weights: Any, strides: Any, image_size: Any, frozen_stages: Any, options: Any) -> None:
    """Check the arguments of a yaml row.

    Raises:
        ValueError: one has a wrong type or value; the message shows a right one.
    """
    if not (isinstance(model_name, str) and model_name):
        raise ValueError(f"TimmBackbone: the first argument is the name of a timm model, not {model_name!r}")
    if not (weights is None or isinstance(weights, (bool, str))):
        raise ValueError(f"TimmBackbone: weights must be False, True or the path of a file, not {weights!r}")
    is_list = isinstance(strides, (list, tuple)) and all(type(stride) is int for stride in strides)
    if not (is_list and strides and list(strides) == sorted(set(strides))):
        raise ValueError(f"TimmBackbone: strides must be ascending integers such as [8, 16, 32], not {strides!r}")
    if not (image_size is None or (type(image_size) is int and image_size > 0)):
        raise ValueError(f"TimmBackbone: image_size must be a number of pixels, not {image_size!r}")
    if type(frozen_stages) is not int or not 0 <= frozen_stages <= 1 + len(strides):
        raise ValueError(f"TimmBackbone: frozen_stages must be 0 to {1 + len(strides)}, not {frozen_stages!r}")
    if not (options is None or (isinstance(options, dict) and all(isinstance(key, str) for key in options))):
        raise ValueError(f"TimmBackbone: options must be like {{drop_path_rate: 0.1}}, not {options!r}")


def cells(pixels: int, stride: int) -> int:
    """Return the height or width of a map, rounded up, by arithmetic that a trace does not turn into a constant."""
    return (pixels + stride - 1) // stride


def describe_weights(weights: bool | str | None) -> str:
    """Return in words which weights a model has."""
    if not weights:
        return "random weights"
    return "weights of timm's hub" if weights is True else f"weights of {weights}"
