"""How to build a model of timm as a backbone, found out before the real one is built.

timm's models declare channels and strides (`feature_info`), but neither the image sizes that they accept, nor the
parameters that no feature map depends on. Both are tried out with a scout: the same model on torch's meta device, which
computes shapes without values, or on the CPU, before torch 2.0 and for models with tables of a fixed size.
"""

from __future__ import annotations

import difflib
from typing import Any, Mapping, NamedTuple, Sequence

import torch
from torch import Tensor, nn

from .sizes import MAX_MISSING_CELLS, PROBE_SIZE, SizeRule, missing_cells, size_rules, validation_size

try:
    import timm
except ImportError as error:
    raise ImportError(f"a TimmBackbone row needs the package timm: pip install timm ({error})") from error

HAS_META_MODE = hasattr(torch.device, "__enter__")  # torch 2.0

# The options of timm's models that allow any image size; most models need none.
ANY_SIZE_OPTIONS: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
GIVEN_OPTIONS = {"features_only", "in_chans", "img_size", "out_indices", "pretrained"}
USUAL_SIZE = 640  # pixels, YOLOv5's own --img-size
MAX_EXTRA_SIZE = 256  # pixels by which a model of a single size may be built larger than needed


class Plan(NamedTuple):
    """How to build one model, and its properties.

    Attributes:
        options: keyword arguments of `timm.create_model`.
        channels, strides: of each map; a stride is in pixels of the image per cell.
        sizes: the image sizes that the model accepts.
        needs_border_padding: whether maps have fewer cells than the image has strides.
        idle_modules, idle_parameters: names of modules that never run, and of other parameters without effect.
    """

    options: dict[str, Any]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    sizes: SizeRule = SizeRule(32, 32)
    needs_border_padding: bool = False
    idle_modules: tuple[str, ...] = ()
    idle_parameters: tuple[str, ...] = ()


class Level(NamedTuple):
    """One feature map of a timm model: its number there, pixels of the image per cell, and channels."""

    number: int
    stride: int
    channels: int


def make_plan(
    name: str,
    in_channels: int,
    strides: Sequence[int],
    image_size: int | None = None,
    more_options: Mapping[str, Any] | None = None,
) -> Plan:
    """Find out how to build model `name` for images of `in_channels` and maps of `strides`.

    Args:
        name: a name for `timm.create_model`, with or without the tag of its weights.
        in_channels: number of channels of the image.
        strides: of the wanted maps, ascending, in pixels per cell.
        image_size: pixels. For a model of a single image size, YOLOv5's `--img-size`, 640 if None. For a model whose
            windows or tables depend on a size, that size, the published one if None.
        more_options: further keyword arguments of `timm.create_model`.

    Raises:
        ValueError: timm has no such model, it gives no such maps, rejects the options, or accepts a single image size
            that cannot be chosen.
    """
    more_options = dict(more_options or {})
    scout = feature_scout(name)
    if more_options:
        try_options(name, more_options)
    chosen = choose_levels(name, levels_of(scout), strides)
    wanted = Plan(
        options={
            **more_options,
            "features_only": True,
            "in_chans": in_channels,
            "out_indices": tuple(level.number for level in chosen),
        },
        channels=tuple(level.channels for level in chosen),
        strides=tuple(strides),
    )
    scout, plan = find_sizes(name, wanted, image_size)
    plan = plan._replace(needs_border_padding=needs_border_padding(scout, plan))
    idle_modules, idle_parameters = find_idle(scout, plan)  # last, because it leaves the scout in training mode
    return plan._replace(idle_modules=idle_modules, idle_parameters=idle_parameters)


def feature_scout(name: str) -> nn.Module:
    """Build a scout of model `name` with all its feature maps.

    Raises:
        ValueError: there is no such model, or timm gives no feature maps of it.
    """
    if not timm.is_model(name.split(".")[0]):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), 5, 0.5)
        advice = f"the nearest names are {', '.join(near)}" if near else "timm.list_models() lists them all"
        raise ValueError(f"timm {timm.__version__} has no model {name!r}; {advice}")
    try:
        scout = build_scout(name, {"features_only": True})
        levels_of(scout)
    except Exception as error:
        raise ValueError(
            f"timm {timm.__version__} gives no feature maps of {name} ({error}); choose one of "
            f"`python -m {__package__.rpartition('.')[0]} list`"
        ) from error
    return scout


def try_options(name: str, options: Mapping[str, Any]) -> None:
    """Check options for a model by building it.

    Raises:
        ValueError: the row has another argument for one of them, or timm rejects it.
    """
    given = sorted(GIVEN_OPTIONS & options.keys())
    if given:
        raise ValueError(
            f"TimmBackbone: {', '.join(given)} cannot be among the options; other arguments of the row say it"
        )
    try:
        build_scout(name, {"features_only": True, **options})
    except Exception as error:
        raise ValueError(
            f"TimmBackbone: timm {timm.__version__} does not build {name} with the options {dict(options)}: {error}"
        ) from error


def levels_of(net: nn.Module) -> list[Level]:
    """Return the feature maps that a features-only model of timm has, finest first."""
    feature_info: Any = net.feature_info
    return [Level(number, info["reduction"], info["num_chs"]) for number, info in enumerate(feature_info.info)]


def choose_levels(name: str, levels: Sequence[Level], strides: Sequence[int]) -> list[Level]:
    """Return the deepest level of each wanted stride.

    Raises:
        ValueError: the model gives no map of a wanted stride.
    """
    by_stride = {level.stride: level for level in levels}  # a deeper level replaces one of the same stride
    missing = [stride for stride in strides if stride not in by_stride]
    if missing:
        raise ValueError(
            f"{name} gives no map of stride {', '.join(map(str, missing))}; its strides are "
            f"{', '.join(map(str, by_stride))}. Name some of these in the row, or choose another model"
        )
    return [by_stride[stride] for stride in strides]


def build_scout(name: str, options: Mapping[str, Any], with_values: bool = False) -> nn.Module:
    """Build a scout: a model without values on the meta device, or if `with_values` with random weights on the CPU.

    Raises:
        TypeError: the model rejects one of the options.
    """
    if HAS_META_MODE and not with_values:
        try:
            with torch.device("meta"):
                return timm.create_model(name, pretrained=False, **options)
        except (NotImplementedError, RuntimeError):
            pass  # timm before 1.0 needs values while it builds
    return timm.create_model(name, pretrained=False, **options)


def maps_of(net: nn.Module, image: Tensor) -> list[Tensor]:
    """Run a features-only model of timm and return its maps as `(B, C, H, W)`."""
    maps = list(net(image))
    if getattr(net, "output_fmt", "NCHW") == "NHWC":
        return [feature_map.permute(0, 3, 1, 2) for feature_map in maps]
    return maps


def find_sizes(name: str, wanted: Plan, image_size: int | None) -> tuple[nn.Module, Plan]:
    """Return the plan under which the model accepts the most image sizes, and a scout built by it.

    Raises:
        ValueError: the model accepts a single size, and cannot be built for `image_size`.
    """
    reason = ""
    built_for = [{**extra, "img_size": image_size} for extra in ANY_SIZE_OPTIONS if image_size]
    # a table that is too small for an image raises only if values are computed
    for with_values in (False, True):
        for extra in (*built_for, *ANY_SIZE_OPTIONS):
            options = {**wanted.options, **extra}
            try:
                scout = build_scout(name, options, with_values).eval()
            except TypeError:
                continue  # the model has no such option
            if default_cfg(scout).get("fixed_input_size") and not with_values:
                continue
            usual = extra.get("img_size", usual_size(scout))
            for rule in size_rules(usual):
                reason = find_obstacle_to_rule(scout, rule, usual, wanted)
                if not reason:
                    return scout, wanted._replace(options=options, sizes=rule)
    return plan_single_size(name, wanted, image_size or USUAL_SIZE, reason)


def default_cfg(net: nn.Module) -> Mapping[str, Any]:
    """Return timm's description of a model's published weights."""
    return getattr(net, "default_cfg", {})


def usual_size(net: nn.Module) -> int:
    """Return the image size, in pixels, that the model was published for."""
    return int(default_cfg(net).get("input_size", (3, 224, 224))[-1])


def find_obstacle_to_rule(net: nn.Module, rule: SizeRule, usual: int, wanted: Plan) -> str:
    """Return why the model does not accept the smallest size of a rule and the first beyond `usual`; "" if it does."""
    beyond = (usual // rule.step + 1) * rule.step
    sizes = [(size, size + rule.step) for size in (rule.smallest, beyond)]
    return next(filter(None, (find_obstacle(net, size, wanted) for size in sizes)), "")


def find_obstacle(net: nn.Module, size: tuple[int, int], wanted: Plan) -> str:
    """Return why the model does not give the wanted maps for an image of `size`, height and width; "" if it does."""
    where = f"at {size[0]}x{size[1]}"
    image = torch.zeros(1, wanted.options["in_chans"], *size, device=next(net.parameters()).device)
    try:
        with torch.no_grad():
            maps = maps_of(net, image)
    except Exception as error:
        return f"{where}: {str(error) or type(error).__name__}"
    for found, channels, stride in zip(maps, wanted.channels, wanted.strides):
        missing = missing_cells(found, size, stride)
        if found.shape[1] != channels or not all(0 <= cells <= MAX_MISSING_CELLS for cells in missing):
            return f"{where}: its map of stride {stride} has the shape {tuple(found.shape)}"
    return ""


def needs_border_padding(scout: nn.Module, plan: Plan) -> bool:
    """Whether maps have fewer cells than their stride implies, because convolutions are not padded."""
    size = (plan.sizes.smallest, plan.sizes.largest or plan.sizes.smallest + plan.sizes.step)
    image = torch.zeros(1, plan.options["in_chans"], *size, device=next(scout.parameters()).device)
    with torch.no_grad():
        maps = maps_of(scout, image)
    return any(any(missing_cells(found, size, stride)) for found, stride in zip(maps, plan.strides))


def plan_single_size(name: str, wanted: Plan, image_size: int, reason: str) -> tuple[nn.Module, Plan]:
    """Return the plan for a model of a single image size, and a scout built by it.

    The size is the largest that YOLOv5 uses at --img-size `image_size`, or the next one that timm can build.

    Raises:
        ValueError: timm builds the model for no such size.
    """
    needed = validation_size(image_size, wanted.strides[-1])
    refused = ""
    for size in range(needed, needed + MAX_EXTRA_SIZE + 1, 16):
        scout, reason_at_size = try_size(name, wanted, size)
        if scout is not None:
            return scout, with_single_size(wanted, size)
        refused = refused or reason_at_size
    published = usual_size(feature_scout(name))
    smaller = published - max(32, wanted.strides[-1])
    advice = "choose another model"
    if PROBE_SIZE <= published < needed:
        advice = f"train with --img-size {smaller} and write {smaller} as image_size into the row, or {advice}"
    raise ValueError(
        f"{name} takes images of one size only ({reason}), and timm {timm.__version__} does not build it for {needed} "
        f"pixels ({refused}). YOLOv5 needs {needed}: it tries every model on an image of {PROBE_SIZE} pixels, and with "
        f"--img-size {image_size} it validates at up to {validation_size(image_size, wanted.strides[-1])}; {advice}"
    )


def with_single_size(wanted: Plan, size: int) -> Plan:
    """Return the plan with `size` pixels as the only height and width."""
    return wanted._replace(options={**wanted.options, "img_size": size}, sizes=SizeRule(size, size, size))


def try_size(name: str, wanted: Plan, size: int) -> tuple[nn.Module | None, str]:
    """Return a scout built for `size` pixels and "", or None and the reason."""
    try:
        scout = build_scout(name, with_single_size(wanted, size).options).eval()
        reason = find_obstacle(scout, (size, size), wanted)
    except Exception as error:
        return None, str(error)
    return (None, reason) if reason else (scout, "")


def find_idle(scout: nn.Module, plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of modules that never run in a training step, and of other parameters without gradient."""
    ran: set[nn.Module] = set()  # without containers such as ModuleList, which are never called
    handles = [module.register_forward_hook(lambda module, *_: ran.add(module)) for module in scout.modules()]
    scout.train()
    size, device = plan.sizes.smallest, next(scout.parameters()).device
    image = torch.zeros(2, plan.options["in_chans"], size, size, device=device)
    with torch.enable_grad():
        torch.stack([feature_map.sum() for feature_map in maps_of(scout, image)]).sum().backward()
    for handle in handles:
        handle.remove()
    idle_modules: list[str] = []
    for name, module in scout.named_modules():
        parameters = list(module.parameters())
        container = isinstance(module, (nn.ModuleList, nn.ModuleDict))  # the model calls its entries by itself
        inside = any(name.startswith(f"{outer}.") for outer in idle_modules)
        idle = ran.isdisjoint(module.modules()) and all(parameter.grad is None for parameter in parameters)
        if parameters and idle and not (container or inside):
            idle_modules.append(name)
    no_gradient = [name for name, parameter in scout.named_parameters() if parameter.grad is None]
    rest = [name for name in no_gradient if not any(name.startswith(f"{outer}.") for outer in idle_modules)]
    return tuple(idle_modules), tuple(rest)
