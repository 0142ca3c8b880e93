"""What a model of timm needs to stand as a backbone, found out before the real one is built.

timm's models tell their channels and strides (`feature_info`), but neither which image sizes they take, nor which of
their parameters no feature map depends on. Both are tried out on torch's meta device, which computes shapes and no
values, and on the CPU where that does not do: before torch 2.0, and for models with tables of a fixed size.
"""

from __future__ import annotations

import difflib
from typing import Any, Mapping, NamedTuple, Sequence

import torch
from torch import Tensor, nn

from .sizes import MOST_MISSING_CELLS, PROBE_SIZE, SizeRule, missing_cells, size_rules, validation_size

try:
    import timm
except ImportError as error:
    raise ImportError(f"a TimmBackbone row needs the package timm: pip install timm ({error})") from error

HAS_META_MODE = hasattr(torch.device, "__enter__")  # torch 2.0

# What timm's models call the switch that lets them take any image size; most need none.
ANY_SIZE_OPTIONS: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
GIVEN_OPTIONS = {"features_only", "in_chans", "img_size", "out_indices", "pretrained"}
USUAL_SIZE = 640  # pixels, YOLOv5's own --img-size
MOST_BEYOND = 256  # pixels: how much larger than asked for a model of one size may be built


class Plan(NamedTuple):
    """How to build one model and what to expect of it.

    `options` are keyword arguments of `timm.create_model`; `lacks_cells` tells that maps have fewer cells than their
    stride gives; `idle_modules` are never run and `idle_parameters` run, but no map depends on them, both by their
    names in the model.
    """

    options: dict[str, Any]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    sizes: SizeRule = SizeRule(32, 32)
    lacks_cells: bool = False
    idle_modules: tuple[str, ...] = ()
    idle_parameters: tuple[str, ...] = ()


class Level(NamedTuple):
    """One feature map that timm offers: its number there, pixels of the image per cell, and channels."""

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
        name: what `timm.create_model` takes, with or without the tag of its weights.
        in_channels: channels of the image.
        strides: of the wanted maps, ascending, pixels per cell.
        image_size: pixels. Of a model that takes one size only, YOLOv5's `--img-size`, 640 if None. Of a model whose
            windows or tables depend on a size, that size, the published one if None.
        more_options: keyword arguments of `timm.create_model` besides.

    Raises:
        ValueError: timm has no such model, it gives no such maps, does not take the options, or it takes one image size
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
    plan = plan._replace(lacks_cells=lacks_cells(scout, plan))
    idle_modules, idle_parameters = find_idle(scout, plan)  # in training mode
    return plan._replace(idle_modules=idle_modules, idle_parameters=idle_parameters)


def feature_scout(name: str) -> nn.Module:
    """Build model `name`, to be asked for what it offers.

    Raises:
        ValueError: there is no such model, or timm gives no feature maps of it.
    """
    if not timm.is_model(name.split(".")[0]):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), 5, 0.5)
        advice = f"the nearest names are {', '.join(near)}" if near else "timm.list_models() lists them all"
        raise ValueError(f"timm {timm.__version__} has no model {name!r}; {advice}")
    try:
        scout = scout_of(name, {"features_only": True})
        levels_of(scout)
    except Exception as error:
        raise ValueError(
            f"timm {timm.__version__} gives no feature maps of {name} ({error}); choose one of "
            f"`python -m {__package__.rpartition('.')[0]} list`"
        ) from error
    return scout


def try_options(name: str, options: Mapping[str, Any]) -> None:
    """Let timm check options for a model.

    Raises:
        ValueError: the row gives one of them in another way, or timm does not take it.
    """
    given = sorted(GIVEN_OPTIONS & options.keys())
    if given:
        raise ValueError(
            f"TimmBackbone: {', '.join(given)} cannot be among the options; other arguments of the row say it"
        )
    try:
        scout_of(name, {"features_only": True, **options})
    except Exception as error:
        raise ValueError(
            f"TimmBackbone: timm {timm.__version__} does not build {name} with the options {dict(options)}: {error}"
        ) from error


def levels_of(net: nn.Module) -> list[Level]:
    """Return the feature maps that a features-only model of timm offers, finest first."""
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


def scout_of(name: str, options: Mapping[str, Any], with_values: bool = False) -> nn.Module:
    """Build a model to try things out on, with random weights or, unless asked for `with_values`, with none at all.

    Raises:
        TypeError: the model does not accept one of the options.
    """
    if HAS_META_MODE and not with_values:
        try:
            with torch.device("meta"):
                return timm.create_model(name, pretrained=False, **options)
        except (NotImplementedError, RuntimeError):
            pass  # timm before 1.0 computes with values while it builds
    return timm.create_model(name, pretrained=False, **options)


def maps_of(net: nn.Module, image: Tensor) -> list[Tensor]:
    """Run a features-only model of timm and return its maps as `(B, C, H, W)`."""
    maps = list(net(image))
    if getattr(net, "output_fmt", "NCHW") == "NHWC":
        return [feature_map.permute(0, 3, 1, 2) for feature_map in maps]
    return maps


def find_sizes(name: str, wanted: Plan, image_size: int | None) -> tuple[nn.Module, Plan]:
    """Return the plan under which the model takes the most image sizes, and a scout built by it.

    Raises:
        ValueError: the model takes one size only, and cannot be built for `image_size`.
    """
    reason = ""
    built_for = [{**extra, "img_size": image_size} for extra in ANY_SIZE_OPTIONS if image_size]
    # A table that is too small for an image shows only when values are computed.
    for with_values in (False, True):
        for extra in (*built_for, *ANY_SIZE_OPTIONS):
            options = {**wanted.options, **extra}
            try:
                scout = scout_of(name, options, with_values).eval()
            except TypeError:
                continue  # this model knows no such option
            if default_cfg(scout).get("fixed_input_size") and not with_values:
                continue
            usual = extra.get("img_size", usual_size(scout))
            for rule in size_rules(usual):
                reason = find_obstacle_at_any_size(scout, rule, usual, wanted)
                if not reason:
                    return scout, wanted._replace(options=options, sizes=rule)
    return one_size(name, wanted, image_size or USUAL_SIZE, reason)


def default_cfg(net: nn.Module) -> Mapping[str, Any]:
    """Return what timm notes about a model's published weights."""
    return getattr(net, "default_cfg", {})


def usual_size(net: nn.Module) -> int:
    """Return the image size, in pixels, that the model was published for."""
    return int(default_cfg(net).get("input_size", (3, 224, 224))[-1])


def find_obstacle_at_any_size(net: nn.Module, rule: SizeRule, usual: int, wanted: Plan) -> str:
    """Return why the model does not take every size of the rule; "" if it does, the smallest and beyond the usual."""
    beyond = (usual // rule.step + 1) * rule.step
    sizes = [(size, size + rule.step) for size in (rule.smallest, beyond)]
    return next(filter(None, (find_obstacle(net, size, wanted) for size in sizes)), "")


def find_obstacle(net: nn.Module, size: tuple[int, int], wanted: Plan) -> str:
    """Return why the model does not give the wanted maps of an image of this height and width; "" if it does."""
    where = f"at {size[0]}x{size[1]}"
    image = torch.zeros(1, wanted.options["in_chans"], *size, device=next(net.parameters()).device)
    try:
        with torch.no_grad():
            maps = maps_of(net, image)
    except Exception as error:
        return f"{where}: {str(error) or type(error).__name__}"
    for found, channels, stride in zip(maps, wanted.channels, wanted.strides):
        missing = missing_cells(found, size, stride)
        if found.shape[1] != channels or not all(0 <= cells <= MOST_MISSING_CELLS for cells in missing):
            return f"{where}: its map of stride {stride} has the shape {tuple(found.shape)}"
    return ""


def lacks_cells(scout: nn.Module, plan: Plan) -> bool:
    """Tell whether maps have fewer cells than their stride gives, because convolutions have no padding."""
    size = (plan.sizes.smallest, plan.sizes.largest or plan.sizes.smallest + plan.sizes.step)
    image = torch.zeros(1, plan.options["in_chans"], *size, device=next(scout.parameters()).device)
    with torch.no_grad():
        maps = maps_of(scout, image)
    return any(any(missing_cells(found, size, stride)) for found, stride in zip(maps, plan.strides))


def one_size(name: str, wanted: Plan, image_size: int, reason: str) -> tuple[nn.Module, Plan]:
    """Plan for a model that takes images of one size only, and return a scout with the plan.

    It is built for the largest images that YOLOv5 makes at --img-size `image_size`, or for the next size beyond that
    timm can build it for.

    Raises:
        ValueError: timm builds it for no such size.
    """
    needed = validation_size(image_size, wanted.strides[-1])
    refused = ""
    for size in range(needed, needed + MOST_BEYOND + 1, 16):
        scout, why = build_for(name, wanted, size)
        if scout is not None:
            return scout, one_size_plan(wanted, size)
        refused = refused or why
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


def one_size_plan(wanted: Plan, size: int) -> Plan:
    """Return the plan with `size` pixels as the only height and width."""
    return wanted._replace(options={**wanted.options, "img_size": size}, sizes=SizeRule(size, size, size))


def build_for(name: str, wanted: Plan, size: int) -> tuple[nn.Module | None, str]:
    """Return a scout built for `size` pixels, or why there is none."""
    try:
        scout = scout_of(name, one_size_plan(wanted, size).options).eval()
        why = find_obstacle(scout, (size, size), wanted)
    except Exception as error:
        return None, str(error)
    return (None, why) if why else (scout, "")


def find_idle(scout: nn.Module, plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the modules that do not run, and the other parameters on which no map depends, by one training step."""
    ran: set[nn.Module] = set()  # containers such as ModuleList never do
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
        container = isinstance(module, (nn.ModuleList, nn.ModuleDict))  # the model goes through its entries
        inside = any(name.startswith(f"{outer}.") for outer in idle_modules)
        idle = ran.isdisjoint(module.modules()) and all(parameter.grad is None for parameter in parameters)
        if parameters and idle and not (container or inside):
            idle_modules.append(name)
    no_gradient = [name for name, parameter in scout.named_parameters() if parameter.grad is None]
    rest = [name for name in no_gradient if not any(name.startswith(f"{outer}.") for outer in idle_modules)]
    return tuple(idle_modules), tuple(rest)
