"""Parameters and batch norms that stay frozen although the host unfreezes everything."""

from __future__ import annotations

from typing import Any, Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Backbone
from .imported_twice import share_classes


class FrozenParameter(nn.Parameter):
    """A parameter without gradient whose `requires_grad` cannot be switched on by assignment.

    YOLOv5's train.py sets `requires_grad = True` on every parameter. Freezing them again in `train()` is enough on one
    device, but DistributedDataParallel lists the parameters before that, and then waits for their gradients forever.
    """

    @property
    def requires_grad(self) -> bool:
        """Always False."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        """Ignore the value: the host has no option for exceptions."""

    def requires_grad_(self, requires_grad: bool = True) -> FrozenParameter:
        """Ignore the value here too, and return self."""
        return self


class PausedParameter(FrozenParameter):
    """A frozen parameter that `release` unfreezes in a later epoch; in place, because optimizers hold the object.

    It remembers the value that the host has assigned to `requires_grad`: what `--freeze` freezes stays frozen.
    """

    wanted = True

    @property
    def requires_grad(self) -> bool:
        """False until the release."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        """Remember the value for the release."""
        self.wanted = value


share_classes(globals(), "FrozenParameter", "PausedParameter")  # a pickle holds ordinary parameters


class FrozenBatchNorm2d(nn.Module):
    """A batch norm that always uses the statistics it has, `(B, C, H, W)` to the same shape.

    Like torchvision's, it is no subclass of a batch norm: `torch.optim.swa_utils.update_bn` resets the statistics of
    all batch norms and gathers new ones, and those of a frozen one would stay reset. Its tensors have the same names as
    an ordinary batch norm's.

    Args:
        bn: an ordinary batch norm, whose tensors are shared, not copied.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, bn: nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps = bn.eps
        self.weight, self.bias = bn.weight, bn.bias
        for name, buffer in bn.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def freeze(module: nn.Module) -> None:
    """Freeze all parameters and batch norms in `module`; the values stay the same, in the same memory.

    It skips what is frozen already, so it can be called again after parameters have been replaced.
    """
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, FrozenBatchNorm2d(child))
    for child in module.modules():
        freeze_own_parameters(child)


def pause(module: nn.Module) -> None:
    """Freeze all parameters in `module` for a time. Batch norms keep their class, which the host groups them by."""
    for child in module.modules():
        freeze_own_parameters(child, PausedParameter)


def freeze_own_parameters(module: nn.Module, kind: type[FrozenParameter] = FrozenParameter) -> None:
    """Freeze the parameters of a module, but not those of its children."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        if not isinstance(parameter, FrozenParameter):
            setattr(module, name, kind(parameter.detach(), requires_grad=False))


def release(parameter: PausedParameter) -> None:
    """Turn a paused parameter into an ordinary one, in place."""
    wanted = parameter.wanted
    parameter.__class__ = nn.Parameter  # type: ignore[assignment]
    parameter.requires_grad_(wanted)


class FreezableBackbone(Backbone):
    """A backbone with parts that stay frozen whatever a host does, permanently or for its first epochs.

    A subclass defines the parts by `freeze_parts` and `frozen_modules`. If they are frozen permanently, modules may be
    replaced. If not, modules stay: their parameters are paused, and their batch norms are in eval mode.

    Attributes:
        frozen_epochs: for how many epochs of training the parts are frozen; 0 for all.
        released: whether these epochs are over.
    """

    frozen_epochs = 0
    released = False

    def freeze_parts(self) -> None:
        """Freeze the parts, also those parameters that were replaced since."""
        raise NotImplementedError(f"{type(self).__name__} has no freeze_parts()")

    def frozen_modules(self) -> Iterable[nn.Module]:
        """Return the modules that are frozen as a whole."""
        raise NotImplementedError(f"{type(self).__name__} has no frozen_modules()")

    def stay_frozen(self) -> None:
        """Freeze the parts, also after `load_state_dict(assign=True)`; the last call of a subclass's constructor."""
        freeze_again(self)
        hooks = getattr(self, "_load_state_dict_post_hooks", None)  # since torch 1.13, before assign=True
        if hooks is not None and freeze_again not in hooks.values():
            self.register_load_state_dict_post_hook(freeze_again)  # type: ignore[no-untyped-call]

    def begin_epoch(self, epoch: int) -> str:
        if not self.frozen_epochs or self.released or epoch < self.frozen_epochs:
            return ""
        paused = [parameter for parameter in self.parameters() if isinstance(parameter, PausedParameter)]
        for parameter in paused:
            release(parameter)
        self.released = True
        self.train(self.training)
        released = sum(parameter.requires_grad for parameter in paused)
        return f"{released} tensors are no longer frozen, batch norms included (epoch {epoch}, counted from 0)"

    def train(self, mode: bool = True) -> FreezableBackbone:
        """Set the mode as every module does, but leave the frozen parts in eval mode.

        YOLOv5 calls this at the start of each epoch.
        """
        super().train(mode)
        if not self.released:
            for module in self.frozen_modules():
                module.eval()
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Freeze again: a pickle holds ordinary parameters."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.stay_frozen()

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        """Freeze again: a conversion, such as `to_empty()`, may make new parameters."""
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        freeze_again(self)
        return self


def freeze_again(backbone: FreezableBackbone, _: Any = None) -> None:
    """Freeze the parts again, unless their epochs are over; also torch's hook after `load_state_dict`."""
    if not backbone.released:
        backbone.freeze_parts()


def checked_epochs(name: str, frozen_epochs: Any) -> int:
    """Return the `frozen_epochs` of a yaml row.

    Raises:
        ValueError: it is no whole number from 0 on.
    """
    if type(frozen_epochs) is not int or frozen_epochs < 0:
        raise ValueError(
            f"{name}: frozen_epochs must be a number of epochs such as 5, or 0 for no limit, not {frozen_epochs!r}"
        )
    return frozen_epochs
