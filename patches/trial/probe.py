"""Run inside a checkout by verify.py: builds and runs model yamls, and prints a line of JSON for each.

Use: python probe.py MODULE [--thorough] YAML...
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Iterator

OUTCOME = "yolov5-efficientvit outcome: "  # a prefix, because hosts print lines too


def main() -> None:
    """Print the outcomes."""
    module, *rest = sys.argv[1:]
    thorough = "--thorough" in rest
    try:
        yolo = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        print_outcome(yaml=module, **problem(error))
        return
    for path in (Path(argument) for argument in rest if not argument.startswith("--")):
        try:
            print_outcome(yaml=path.name, **examine(yolo, path, thorough))
        except (Exception, SystemExit) as error:
            print_outcome(yaml=path.name, **problem(error))


def problem(error: BaseException) -> dict[str, str]:
    """Return an error as part of an outcome; as `missing` if a whole package is."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            return {"missing": package}
    return {"error": f"{type(error).__name__}: {error}"}


def print_outcome(**outcome: Any) -> None:
    """Print one outcome on a line of its own."""
    print("\n" + OUTCOME + json.dumps(outcome), flush=True)


def examine(yolo: Any, path: Path, thorough: bool) -> dict[str, Any]:
    """Build the model of a yaml, run it, and return its properties; a stock model has no backbone."""
    import torch

    torch.manual_seed(0)
    model = yolo.Model(str(path))
    backbones = [layer for layer in model.model if type(layer).__module__.startswith(f"{package_of(yolo)}.backbone.")]
    outcome = {
        "backbone": ", ".join(type(layer).__name__ for layer in backbones),
        "layers": [i for layer in backbones for i in range(layer.i - len(layer.channels) + 1, layer.i + 1)],
        "detect": type(model.model[-1]).__name__,
        "last": model.model[-1].i,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "strides": [int(stride) for stride in getattr(model, "stride", [])],
    }
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        require_finite(model.eval()(image), "an output")
    if thorough:
        outcome["fuse_error"] = train_and_fuse(model, image)
    return outcome


def package_of(yolo: Any) -> str:
    """Return the package of a module, `models` or `yolov5.models`."""
    return str(yolo.__name__.rpartition(".")[0])


def train_and_fuse(model: Any, image: Any) -> float:
    """Take a training step, fuse the model, and return the largest relative error of the fused outputs."""
    import torch

    model.train()
    outputs = list(tensors(model(image)))
    sum(output.float().square().mean() for output in outputs if output.requires_grad).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise RuntimeError(f"{name} got no gradient")
        if parameter.requires_grad:
            require_finite(parameter.grad, f"the gradient of {name}")
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    torch.optim.SGD(model.parameters(), 0.01).step()
    with torch.no_grad():
        before = list(tensors(model.eval()(image)))
        after = list(tensors(model.fuse().eval()(image)))
    return largest_error(after, before)


def largest_error(found: list[Any], expected: list[Any]) -> float:
    """Return the largest difference of the outputs, relative to the largest value of each."""
    shapes = [[tuple(output.shape) for output in outputs] for outputs in (found, expected)]
    if shapes[0] != shapes[1]:
        raise RuntimeError(f"fusing changes the outputs' shapes from {shapes[1]} to {shapes[0]}")
    require_finite([found, expected], "an output after a step of training")
    return max(float((a - b).abs().max()) / (float(b.abs().max()) or 1.0) for a, b in zip(found, expected))


def tensors(outputs: Any) -> Iterator[Any]:
    """Yield the tensors in nested lists, tuples and dicts, in their order."""
    if hasattr(outputs, "isfinite"):
        yield outputs
    else:
        for part in outputs.values() if isinstance(outputs, dict) else outputs or ():
            yield from tensors(part)


def require_finite(outputs: Any, what: str) -> None:
    """Check that there are tensors, and that they have no infinity and no NaN.

    Raises:
        RuntimeError: they have, or there is none.
    """
    found = list(tensors(outputs))
    if not found:
        raise RuntimeError(f"{what} is missing")
    if not all(bool(output.isfinite().all()) for output in found):
        raise RuntimeError(f"{what} is not finite")


if __name__ == "__main__":
    main()
