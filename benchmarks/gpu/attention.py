"""Forms of attention on a GPU: the package's own on tokens, PyTorch's fused kernel, and channels first.

Each form replaces the package's own in the whole backbone, so that its effect on the layers around it counts too.
"""

from __future__ import annotations

from typing import Any, Callable
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from models.backbone.efficientvit.attention import KEY_DIM, CascadedGroupAttention
from models.backbone.efficientvit.windows import WINDOW, as_tokens, as_windows
from tests.compare_maps import largest_error

from ..backbones import detector_backbone
from ..calls import inference
from ..timing import ratio
from .session import Results, Session, failure, run_step, spread
from .training import training_step

Form = Callable[[CascadedGroupAttention, Tensor], Tensor]
BATCHES = (1, 32)
TRAINING_BATCH = 16
ROUNDS = 15
IMAGE_SIZE = 640  # pixels


def fused_sdpa(module: CascadedGroupAttention, tokens: Tensor) -> Tensor:
    """Compute `attend_by_products` with logits, softmax and values in one kernel."""
    outputs: list[Tensor] = []
    inputs = tokens.split(module.head_channels, dim=2)
    for qkv, head, part in zip(module.qkv, module.fused_heads, inputs):
        x = part + outputs[-1] if outputs else part
        rows = x.reshape(-1, module.head_channels)
        weight = qkv.weight.flatten(1)
        query = torch.mm(weight[:KEY_DIM], rows.t()).view(KEY_DIM, -1, WINDOW**2)
        query = torch.baddbmm(head.offset, query, head.mixing).permute(1, 2, 0).contiguous()
        key_value = F.linear(rows, weight[KEY_DIM:]).view(-1, WINDOW**2, KEY_DIM + module.head_channels)
        key, value = key_value.split((KEY_DIM, module.head_channels), dim=2)
        outputs.append(attend_in_one_kernel(query, key, value, head.bias, 1.0))
    x = F.relu(torch.cat(outputs, 2).add_(module.value_bias.flatten()), inplace=True)
    return F.linear(x, module.project.weight.flatten(1), module.project.bias)


def fused_convolutions(module: CascadedGroupAttention, tokens: Tensor) -> Tensor:
    """Apply the fused weights as convolutions of windows, and attend in one kernel."""
    outputs: list[Tensor] = []
    inputs = tokens.split(module.head_channels, dim=2)
    layers = zip(module.qkv, module.query_depthwise, module.fused_heads, inputs)
    for qkv, depthwise, head, part in layers:
        x = part + outputs[-1] if outputs else part
        qkv_tokens = F.linear(x, qkv.weight.flatten(1), qkv.bias)
        query, key, value = qkv_tokens.split((KEY_DIM, KEY_DIM, module.head_channels), dim=2)
        padding = depthwise.weight.shape[-1] // 2
        query = as_tokens(
            F.conv2d(as_windows(query), depthwise.weight, depthwise.bias, padding=padding, groups=KEY_DIM)
        )
        outputs.append(attend_in_one_kernel(query, key, value, head.bias, 1.0))
    x = F.relu(torch.cat(outputs, 2), inplace=True)
    return F.linear(x, module.project.weight.flatten(1), module.project.bias)


def fused_channels_first(module: CascadedGroupAttention, tokens: Tensor) -> Tensor:
    """Compute `attend_by_products` with channels first, `(C, N, 49)`."""
    windows = tokens.permute(2, 0, 1).contiguous()  # (C, N, 49)
    outputs: list[Tensor] = []
    inputs = windows.split(module.head_channels, dim=0)
    for qkv, head, part in zip(module.qkv, module.fused_heads, inputs):
        x = part + outputs[-1] if outputs else part
        products = torch.mm(qkv.weight.flatten(1), x.flatten(1)).view(-1, *x.shape[1:])
        query, key, value = products.split((KEY_DIM, KEY_DIM, module.head_channels), dim=0)
        query = torch.baddbmm(head.offset, query, head.mixing)
        logits = torch.baddbmm(head.bias, query.permute(1, 2, 0), key.transpose(0, 1))  # (N, 49, 49)
        attended = torch.bmm(value.transpose(0, 1), logits.softmax(-1).transpose(1, 2))  # (N, d, 49)
        outputs.append(attended.transpose(0, 1))
    x = F.relu(torch.cat(outputs, 0) + module.value_bias)
    projected = torch.mm(module.project.weight.flatten(1), x.flatten(1)) + module.project.bias[:, None]
    return projected.view(-1, *x.shape[1:]).permute(1, 2, 0)


def training_sdpa(module: CascadedGroupAttention, tokens: Tensor) -> Tensor:
    """Compute `attend` with logits, softmax and values in one kernel."""
    outputs: list[Tensor] = []
    inputs = tokens.split(module.head_channels, dim=2)
    layers = zip(module.qkv, module.query_depthwise, module.attention_bias().unbind(), inputs)
    for qkv, query_depthwise, bias, part in layers:
        x = part + outputs[-1] if outputs else part
        qkv_tokens = as_tokens(qkv(as_windows(x)))
        query, key, value = qkv_tokens.split((KEY_DIM, KEY_DIM, module.head_channels), dim=2)
        query = as_tokens(query_depthwise(as_windows(query)))
        outputs.append(attend_in_one_kernel(query, key, value, bias, module.scale))
    return as_tokens(module.project(as_windows(F.relu(torch.cat(outputs, 2), inplace=True))))


def attend_in_one_kernel(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Attend within windows by PyTorch's fused function, `(N, 49, 16)` and `(N, 49, d)` to `(N, 49, d)`."""
    query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)  # one head
    return F.scaled_dot_product_attention(query, key, value, bias.to(query.dtype), scale=scale).squeeze(1)


FUSED: dict[str, Form] = {
    "tokens": CascadedGroupAttention.attend_by_products,
    "tokens, one kernel": fused_sdpa,
    "convolutions, one kernel": fused_convolutions,
    "channels first": fused_channels_first,
}
TRAINING: dict[str, Form] = {"tokens": CascadedGroupAttention.attend, "tokens, one kernel": training_sdpa}


def measure(session: Session, results: Results) -> None:
    """Add a row for each network, dtype and batch, and for each training step."""
    size = 64 if session.tiny else IMAGE_SIZE
    for name in session.variants:
        for dtype in (torch.float16, torch.float32) if session.on_gpu else (torch.float32,):
            fused = detector_backbone(f"EfficientViT_{name}").fuse().to(session.device, dtype)
            for batch in BATCHES:
                if not session.time_is_left():
                    return
                call = inference(fused, session.images(batch, size, dtype))
                row = {"backbone": name, "what": "fused", "dtype": str(dtype), "batch": batch}
                compare(session, results, row, "attend_by_products", FUSED, call)
        trained = detector_backbone(f"EfficientViT_{name}").train().to(session.device)
        images = session.images(2 if session.tiny else TRAINING_BATCH, size)
        row = {"backbone": name, "what": "training", "batch": len(images)}
        compare(session, results, row, "attend", TRAINING, training_step(session, trained, images))


def compare(
    session: Session,
    results: Results,
    row: dict[str, Any],
    method: str,
    forms: dict[str, Form],
    call: Callable[[], Any],
) -> None:
    """Add a row with the time of each form, in turns, and how far its maps are from those of the first."""

    def by_form(form: Form) -> Callable[[], Any]:
        def run() -> Any:
            with mock.patch.object(CascadedGroupAttention, method, form):
                return call()

        return run

    calls = {name: by_form(form) for name, form in forms.items()}
    errors: dict[str, Any] = {}
    expected = calls["tokens"]()
    for name in list(calls)[1:]:
        try:
            maps = calls[name]()
            errors[name] = None if maps is None else largest_error(maps, expected)
        except Exception as error:
            errors[name] = failure(error)
            del calls[name]
    seconds = session.in_turns(calls, ROUNDS)
    results.add(
        **row,
        **{name: spread(taken) for name, taken in seconds.items()},
        **{f"{name}: share of tokens' time": ratio(seconds, name, "tokens") for name in list(calls)[1:]},
        errors=errors,
    )


def profile(call: Callable[[], Any]) -> dict[str, float]:
    """Return the milliseconds of the slowest kernels in one call, and of all together."""
    call()
    activities = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profiler:
        call()
        torch.cuda.synchronize()
    times: dict[str, float] = {}
    for event in profiler.events() or ():
        if event.device_type.name == "CUDA" and not getattr(event, "is_user_annotation", False):
            times[event.name[:90]] = times.get(event.name[:90], 0.0) + event.time_range.elapsed_us() / 1000
    largest = sorted(times.items(), key=lambda item: -item[1])[:14]
    return {"all": round(sum(times.values()), 3), **{name: round(taken, 3) for name, taken in largest}}


def measure_with_profile(session: Session, results: Results) -> None:
    """On a GPU add the slowest kernels of the smallest and the largest network, then measure."""
    for name in ("M0", "M5") if session.on_gpu else ():
        fused = detector_backbone(f"EfficientViT_{name}").fuse().to(session.device, torch.float16)
        trained = detector_backbone(f"EfficientViT_{name}").train().to(session.device)
        calls = {
            "fused, float16, batch 32": inference(fused, session.images(32, IMAGE_SIZE, torch.float16)),
            "training, batch 16": training_step(session, trained, session.images(TRAINING_BATCH, IMAGE_SIZE)),
        }
        for what, call in calls.items():
            try:
                results.add(backbone=name, what=f"kernels, {what}", kernels=profile(call))
            except Exception as error:
                results.add(backbone=name, what=f"kernels, {what}", kernels=failure(error))
    measure(session, results)


if __name__ == "__main__":
    run_step("attention", measure_with_profile)
