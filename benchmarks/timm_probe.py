"""Run inside a patched YOLOv5: trains, saves, fuses, traces and exports models of timm, each in its own process.

Use: python timm_probe.py PACKAGE_PREFIX YAML IMAGE_SIZE SECONDS, with a job as JSON on each line of the input:
{"model": name, "strides": [8, 16, 32], "onnx": path or ""}. Answers each with a line of JSON.
"""

from __future__ import annotations

import copy
import importlib
import io
import json
import logging
import multiprocessing
import sys
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timm
import torch
import yaml
from torch import nn

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # behind YOLOv5, whose modules are to be found first
compare_maps: Any = importlib.import_module("compare_maps")

SIZES = ((256, 256), (160, 224))  # height and width in pixels
SIZES_OF_STRIDE_64 = ((256, 256), (128, 192))
STEP_SIZE = 64


def model_config(path: str, name: str, strides: list[int], image_size: int) -> dict[str, Any]:
    """Return the yaml with its row for this model; with a single map the neck is left out and Detect reads the map."""
    with open(path, encoding="ascii") as file:
        config: dict[str, Any] = yaml.safe_load(file)
    config["backbone"][0][3] = [name, False, strides, *([image_size] if takes_one_size(name, strides) else [])]
    if len(strides) == 1:
        config["backbone"] = config["backbone"][:1]
        config["head"] = [[-1, 1, "Conv", [256, 1, 1]], [[5], 1, "Detect", ["nc", "anchors"]]]
        config["anchors"] = config["anchors"][1:2]
    return config


def takes_one_size(name: str, strides: list[int]) -> bool:
    """Tell whether the model takes images of one size only; by default that is 640, which is slow on a CPU."""
    plan = importlib.import_module(f"{sys.argv[1]}models.backbone.timm_backbone.plan")
    return bool(plan.make_plan(name, 3, strides).sizes.largest)


def same_as_timm(backbone: Any) -> float:
    """Return how far the features, in the host, are from those of timm's own model with the same numbers."""
    size = backbone.sizes.smallest
    plan = importlib.import_module(f"{sys.argv[1]}models.backbone.timm_backbone.plan")
    image_size = int(sys.argv[3]) if backbone.sizes.largest else None
    made = plan.make_plan(backbone.model_name, 3, backbone.strides, image_size)
    reference = timm.create_model(backbone.model_name, pretrained=False, **made.options).eval()
    reference.load_state_dict(backbone.net.state_dict(), strict=False)
    image = torch.rand(1, 3, size, size)
    return compare_maps.largest_error(plan.maps_of(backbone.net, image), plan.maps_of(reference, image))


def train_step(model: nn.Module, average: Any) -> None:
    """Take one step of the optimizer and of the host's moving average; every parameter must get a finite gradient."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    sum(output.float().square().mean() for output in model(torch.rand(2, 3, STEP_SIZE, STEP_SIZE))).backward()
    wrong = [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())]
    assert not wrong, f"no finite gradient for {len(wrong)} parameters: {wrong[:3]}"
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)  # as the host does
    optimizer.step()
    average.update(model)


def check_forwards(model: Any) -> None:
    """Check the maps and the detections at each size."""
    backbone = model.model[0]
    for height, width in SIZES_OF_STRIDE_64 if backbone.strides[-1] == 64 else SIZES:
        image = torch.rand(1, 3, height, width)
        found = [tuple(feature_map.shape) for feature_map in backbone(image)]
        declared = zip(backbone.channels, backbone.strides)
        expected = [(1, channels, -(-height // stride), -(-width // stride)) for channels, stride in declared]
        assert found == expected, f"maps {found}, declared {expected}"
        assert bool(model(image)[0].isfinite().all()), f"detections at {height}x{width} are not finite"


def norms_after_convolutions(backbone: nn.Module, image: torch.Tensor) -> int:
    """Return how many batch norms are handed just what a convolution gave, in one forward pass."""
    outputs: list[Any] = []
    found = set()

    def after_convolution(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output)

    def before_norm(module: nn.Module, inputs: Any) -> None:
        if any(inputs[0] is output for output in outputs):
            found.add(module)

    handles = []
    for module in backbone.modules():
        if type(module).__name__ in ("Conv2d", "Conv2dSame"):  # others scale their weights first
            handles.append(module.register_forward_hook(after_convolution))
        elif isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(before_norm))
    backbone(image)
    for handle in handles:
        handle.remove()
    return len(found)


def count_norms(backbone: nn.Module) -> int:
    """Return how many batch norms there are."""
    return sum(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


def fuse(model: Any, image: torch.Tensor) -> dict[str, float]:
    """Fuse the host's model, and return the norms left and the error of the features; in float64 too if it is large."""
    backbone = model.model[0]
    unfused, features = copy.deepcopy(backbone), backbone(image)
    foldable, before = norms_after_convolutions(backbone, image), count_norms(backbone)
    model.fuse()
    left = count_norms(backbone)
    assert left < before or not foldable, f"nothing was fused: {before} norms, {foldable} of them after convolutions"
    errors = {"norms left": left, "fuse error": compare_maps.largest_error(backbone(image), features)}
    if errors["fuse error"] > 1e-5:
        exact = unfused.double()
        features = exact(image.double())
        errors["fuse error in float64"] = compare_maps.largest_error(exact.fuse()(image.double()), features)
        assert errors["fuse error in float64"] < 1e-10, f"fused, the features differ by {errors}"
    return errors


def export_onnx(model: nn.Module, path: str) -> float:
    """Export the backbone's maps to ONNX, run that, and return the largest relative error."""
    onnxruntime = importlib.import_module("onnxruntime")  # only this function needs it

    image = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        expected = model(image)
        torch.onnx.export(model, (image,), path, opset_version=18, dynamo=True)
    session = onnxruntime.InferenceSession(path)
    outputs = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    return compare_maps.largest_error(outputs, expected)


def trace_error(backbone: Any) -> dict[str, Any]:
    """Trace the backbone, and return the largest error at four other sizes, and whether the trace takes one size only.

    Raises:
        AssertionError: the trace gives other maps than the backbone, or refuses an image without the warning.
    """
    step, small, largest = backbone.sizes
    if largest:
        traced_size, others = (128, 192), [(64, 96), (192, 128), (largest, 160), (160, largest)]
    else:
        traced_size, others = (small, small + step), [(small, small), (64, 32), (small + step, 96), (224, small + 32)]
    try_trace = importlib.import_module(f"{sys.argv[1]}models.backbone.timm_backbone.trace").try_trace
    padded = backbone.sizes.largest or -(-small // step) * step
    _, serves_sizes = try_trace(backbone.net, torch.rand(1), (1, 3, padded, padded), backbone.sizes)
    pinned = not serves_sizes  # and the log says so
    traced = torch.jit.trace(backbone, torch.rand(1, 3, *traced_size), strict=False, check_trace=False)
    errors = [0.0]
    for size in others:
        image = torch.rand(1, 3, *size)
        expected = backbone(image)
        try:
            found = traced(image)
        except RuntimeError:
            assert pinned, f"a trace at {traced_size} refuses {size}"
            continue
        # of the largest of all maps: where convolutions lack padding, a small map may be borders alone, which are 0
        scale = max(feature_map.abs().max().item() for feature_map in expected)
        errors.append(compare_maps.largest_error(found, expected, scale))
    assert max(errors) < 1e-3, f"a trace at {traced_size} is wrong at other sizes by {max(errors)}"
    return {"trace error": max(errors), "trace of one size": pinned}


def first_cause(error: BaseException) -> str:
    """Return the first exception of the chain that led to this one, as text."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def probe(yolo: Any, torch_utils: Any, config: dict[str, Any], onnx_file: str) -> dict[str, Any]:
    """Build a detector, put it through everything, and return what was measured.

    Raises:
        AssertionError: the backbone fails a check.
    """
    torch.manual_seed(0)
    model = yolo.Model(config)
    backbone = model.model[0]
    seen: dict[str, Any] = {"parameters": sum(p.numel() for p in backbone.parameters()), "sizes": list(backbone.sizes)}
    with torch.no_grad():
        seen["difference from timm"] = same_as_timm(backbone)
    average = torch_utils.ModelEMA(model)
    train_step(model, average)
    model.eval()
    image = torch.rand(1, 3, *SIZES[0])
    with torch.no_grad():
        check_forwards(model)
        assert bool(average.ema(image)[0].isfinite().all()), "the averaged model's detections are not finite"
        lower = copy.deepcopy(model).bfloat16()
        assert bool(lower(image.bfloat16())[0].isfinite().all()), "detections in bfloat16 are not finite"
        del lower, average
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
    with torch.inference_mode():  # as detect.py, val.py and export.py load and fuse
        expected = model(image)[0]
        del model
        reloaded = torch.load(file, weights_only=False).eval()
        # not to the bit: the weights may lie in memory otherwise, and so be summed in another order
        assert compare_maps.largest_error(reloaded(image)[0], expected) < 1e-6, "saved and loaded, it detects otherwise"
        seen.update(fuse(reloaded, image))
        seen.update(trace_error(reloaded.model[0]))
    if onnx_file:
        try:
            seen["onnx error"] = export_onnx(reloaded.model[0], onnx_file)
        except Exception as error:  # the exporter's, not the backbone's
            seen["onnx failed"] = first_cause(error)
    return seen


def run_job(job: dict[str, Any], answer: Connection, yolo: Any, torch_utils: Any) -> None:
    """Probe one model, and send the result, or why it failed."""
    try:
        config = model_config(sys.argv[2], job["model"], job["strides"], int(sys.argv[3]))
        answer.send(probe(yolo, torch_utils, config, job["onnx"]))
    except Exception as error:
        answer.send({"failed": f"{type(error).__name__}: {error}"})


def main() -> None:
    """Answer jobs until the input ends. Processes are forked, so that each has torch and YOLOv5 already imported."""
    prefix, seconds = sys.argv[1], float(sys.argv[4])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    yolo = importlib.import_module(f"{prefix}models.yolo")
    torch_utils = importlib.import_module(f"{prefix}utils.torch_utils")
    context = multiprocessing.get_context("fork")
    for line in sys.stdin:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=run_job, args=(json.loads(line), sender, yolo, torch_utils))
        process.start()
        sender.close()  # so that the end of the process ends the pipe
        try:
            seen = receiver.recv() if receiver.poll(seconds) else {"failed": f"not done after {seconds:.0f} s"}
        except EOFError:
            seen = {"failed": "the process died, as it does when memory runs out"}
        process.kill()
        process.join()
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
