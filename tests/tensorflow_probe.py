"""Run by test_exports_tensorflow.py in processes of their own; each command writes what it saw as JSON, last.

Use: python tensorflow_probe.py features
     python tensorflow_probe.py build PACKAGE_PREFIX IMAGE CFG OUT.pt
     python tensorflow_probe.py compare PACKAGE_PREFIX IMAGE WEIGHTS.pt EXPORTED ...
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from box_order import by_cell
from compare_maps import largest_error

SIZES = [
    (224, 448),
    (192, 320),
    (32, 64),
]  # windows tile the maps of the first, stride 32 apart, and none of the others


def randomize(model):
    """Give batch norms and attention biases values that are not those of the start, at which branches are nothing."""
    source = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.0, generator=source)
            module.bias.data.uniform_(-0.1, 0.1, generator=source)
            module.running_mean.uniform_(-0.1, 0.1, generator=source)
            module.running_var.uniform_(0.5, 1.5, generator=source)
        elif type(module).__name__ == "CascadedGroupAttention":
            module.bias.data.normal_(0, 0.5, generator=source)
    return model.eval()


def arrays(maps):
    return [each.numpy() for each in maps]


def features():
    """Each backbone in Keras against PyTorch, unfused and fused, and a Keras model whose batch is left open."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tensorflow import keras

    from models.backbone.efficientvit import network as efficientvit

    seen = {}
    for name in ("EfficientViT_M0", "EfficientViT_M3", "EfficientViT_M5"):
        for stem_stride in (8, 16) if name == "EfficientViT_M0" else (8,):
            torch.manual_seed(0)
            network = randomize(getattr(efficientvit, name)(4, stem_stride=stem_stride))
            layer = network.to_keras()
            for size in SIZES:
                image = torch.rand(2, 4, *size)
                with torch.no_grad():
                    expected = [one.permute(0, 2, 3, 1).numpy() for one in network(image)]
                pixels = image.permute(0, 2, 3, 1).numpy()
                seen[f"{name}, stem {stem_stride}, {size}"] = largest_error(arrays(layer(pixels)), expected)
    fused = network.fuse().to_keras()  # that of the last round
    seen["fused"] = largest_error(arrays(fused(pixels)), expected)
    inputs = keras.Input(shape=(*size, 4))
    model = keras.Model(inputs, fused(inputs))
    seen["open batch"] = largest_error(arrays(model(pixels)), expected)
    return seen


def read(path, size):
    """Return a photograph as the network sees it, `(1, 3, height, width)`; size is height, x and width."""
    import cv2

    height, width = map(int, size.split("x"))
    pixels = cv2.resize(cv2.imread(path), (width, height))[:, :, ::-1].transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(pixels)).float()[None] / 255


def build(prefix, path, size, cfg, weights):
    """Save a detector as train.py does, of random weights, but with scores spread enough for some to be detections."""
    yolo = importlib.import_module(f"{prefix}models.yolo")
    torch.manual_seed(0)
    kind = "SegmentationModel" if "seg" in Path(cfg).name else "Model"
    model = randomize(getattr(yolo, kind)(cfg, nc=3))
    for convolution in model.model[-1].m:
        torch.nn.init.normal_(convolution.weight, 0, 4.0 / convolution.in_channels**0.5)
        torch.nn.init.zeros_(convolution.bias)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain average over all passes
    image = read(path, size)
    with torch.no_grad():
        model.train()(torch.cat([image, image.flip(2), image.flip(3), 1 - image]))
    model.nc, model.names = 3, ["one", "two", "three"]
    model.yaml["backbone"][0][3] = ["/gone/by/now.pth"]  # parse_model is not to look for it
    torch.save({"model": model.eval().half(), "ema": None, "epoch": -1, "optimizer": None}, weights)
    return {}


def outputs_of(network, image):
    """Return boxes `(1, N, ...)` and, of a segmentation model, masks; v7.0 has them the other way round in TFLite."""
    outputs = network(image)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    arrays = [np.asarray(output) for output in outputs if hasattr(output, "shape")]
    return sorted((array for array in arrays if array.size), key=lambda array: array.ndim)


def compare(prefix, path, size, weights, *exported):
    """Each file of `exported` against PyTorch, on a photograph that fills the network's input."""
    backend = importlib.import_module(f"{prefix}models.common").DetectMultiBackend
    image = read(path, size)
    found = backend(weights, device=torch.device("cpu"))
    detect = found.model.model[-1]
    scored = 5 + detect.nc

    def expect():
        with torch.no_grad():
            boxes, *masks = outputs_of(found, image)
        return by_cell(torch.from_numpy(boxes), detect.stride, *image.shape[2:]).numpy(), *masks

    exact = expect()
    for tensor in [*found.parameters(), *found.buffers()]:
        tensor.data = tensor.data.half().float() if tensor.is_floating_point() else tensor.data
    for module in found.modules():
        if hasattr(module, "bake_products"):
            attention_bias = torch.stack([head.bias for head in module.fused_heads])
            module.bake_products(attention_bias)  # from the rounded weights, which are what TensorFlow has
    rounded = expect()
    seen = {}
    for name in exported:
        boxes, *masks = rounded if "fp16" in Path(name).name else exact
        got, *got_masks = outputs_of(backend(name, device=torch.device("cpu")), image)
        errors = {"boxes": largest_error(got[..., :4], boxes[..., :4])}
        errors["scores"] = largest_error(got[..., 4:scored], boxes[..., 4:scored])
        if masks:
            errors["coefficients"] = largest_error(got[..., scored:], boxes[..., scored:])
            errors["masks"] = largest_error(got_masks, masks)
        seen[Path(name).name] = errors
    return seen


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    result = {"features": features, "build": build, "compare": compare}[command](*arguments)
    print("\n" + json.dumps(result))
