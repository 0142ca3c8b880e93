"""Fused detectors on one image and on 32: eager, as a CUDA graph, and under torch.compile."""

from __future__ import annotations

import copy
from typing import Any, Callable

import torch
from torch import Tensor, nn

from ..calls import inference
from ..host import STOCK
from ..timing import ratio
from .models import detectors
from .session import Results, Session, failure, run_step, spread

BATCHES = (1, 32)
ROUNDS = 40
IMAGE_SIZE = 640
MODES = {"compiled": None, "compiled, CUDA graphs": "reduce-overhead"}
COMPILE_SECONDS = 45  # about what one network takes


def measure(session: Session, results: Results) -> None:
    """Add a row for each batch and way of running; the slow compilers come last."""
    dtype = torch.float16 if session.on_gpu else torch.float32
    models = {name: model for name, model in detectors(session.variants).items() if "," not in name}
    for model in models.values():
        model.to(session.device).eval().fuse().to(dtype)  # type: ignore[operator]
    size = 64 if session.tiny else IMAGE_SIZE
    for batch in BATCHES:
        images = session.images(batch, size, dtype)
        calls = {name: inference(model, images) for name, model in models.items()}
        add(session, results, "eager", batch, calls)
        if session.on_gpu:
            measure_graphs(session, results, batch, calls)
    measure_compiled(session, results, models, session.images(1, size, dtype))


def measure_graphs(session: Session, results: Results, batch: int, calls: dict[str, Callable[[], Any]]) -> None:
    """Add a row with each call as a CUDA graph."""
    graphs, failures = {}, {}
    for name, call in calls.items():
        try:
            graphs[name] = replayed(call)
        except Exception as error:
            failures[name] = failure(error)
    add(session, results, "CUDA graph", batch, graphs, failures)


def measure_compiled(session: Session, results: Results, models: dict[str, nn.Module], image: Tensor) -> None:
    """Add a row for each mode of torch.compile."""
    # dynamo cannot trace a statement of YOLOv5's SPPF, and compiles each layer behind it as a graph of its own
    torch._dynamo.config.recompile_limit = 64
    for how, mode in list(MODES.items())[: 1 if session.tiny else None]:
        calls: dict[str, Callable[[], Any]] = {}
        failures = {}
        torch._dynamo.reset()
        for name in session.variants if session.tiny else [*STOCK[:1], *session.variants]:
            if not session.time_is_left(COMPILE_SECONDS):
                failures[name] = "no time was left"
                continue
            try:
                calls[name] = inference(compiled(session, models[name], mode), image)
                calls[name]()
            except Exception as error:
                calls.pop(name, None)
                failures[name] = failure(error)
        add(session, results, how, 1, calls, failures)


def compiled(session: Session, model: nn.Module, mode: str | None) -> Any:
    """Return a copy under torch.compile; in a dry run with the backend that generates no code."""
    backend = "inductor" if session.on_gpu else "eager"
    return torch.compile(copy.deepcopy(model), mode=mode if session.on_gpu else None, backend=backend)


def add(
    session: Session,
    results: Results,
    how: str,
    batch: int,
    calls: dict[str, Callable[[], Any]],
    failures: dict[str, str] | None = None,
) -> None:
    """Add the row of one way of running."""
    seconds = session.in_turns(calls, ROUNDS)
    ratios = {
        f"{name}: share of yolov5n's time": ratio(seconds, name, "yolov5n")
        for name in calls
        if name != "yolov5n" and "yolov5n" in calls
    }
    times = {name: spread(taken) for name, taken in seconds.items()}
    results.add(how=how, batch=batch, **times, **ratios, failures=failures or {})


def replayed(call: Callable[[], Any]) -> Callable[[], None]:
    """Capture a call as a CUDA graph, and return a call that replays it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


if __name__ == "__main__":
    run_step("latency", measure)
