"""Run inside a YOLOv5 checkout: save detectors with boxes that stand out, or load some in a way that users do.

Use: python elsewhere_probe.py PREFIX WAY ARGUMENT..., where WAY is one of the functions of this file.
"""

import importlib
import sys

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

SIZE, CONFIDENCE = 320, 0.5


def host(name):
    return importlib.import_module(f"{PREFIX}models.{name}")


def save(photo, *yamls_and_weights):
    """Save a detector of each yaml as train.py does.

    A photograph goes through its random weights first, for batch norms and boxes that tell one place from another.
    """
    image = cv2.resize(cv2.imread(photo), (240, SIZE))[..., ::-1].transpose(2, 0, 1)[None] / np.float32(255)
    image = nn.functional.pad(torch.from_numpy(image), (8, 8), value=114 / 255)  # as YOLOv5 does
    for yaml, weights in zip(yamls_and_weights[::2], yamls_and_weights[1::2]):
        torch.manual_seed(0)
        model = host("yolo").Model(yaml).train()
        model.nc = model.yaml["nc"]
        model.names = [f"class {number}" for number in range(model.nc)]
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        momentum = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            for head in model.model[-1].m:
                head.bias.zero_()
                head.register_forward_hook(let_few_boxes_stand_out)
            model(image)
        for norm, value in zip(norms, momentum):
            norm.momentum = value
        for head in model.model[-1].m:
            head._forward_hooks.clear()
        torch.save({"epoch": -1, "model": model.half(), "ema": None, "optimizer": None}, weights)


def let_few_boxes_stand_out(head, inputs, output):
    """Scale the objectness of three anchors, given the predictions of a photograph."""
    weight, bias = head.weight.view(3, -1, *head.weight.shape[1:]), head.bias.view(3, -1)
    objectness = output.view(3, -1, *output.shape[2:])[:, 4]
    scale = 2 / objectness.std()
    weight[:, 4] *= scale
    bias[:, 4] = -4 - scale * objectness.mean()


def hub(result, photo, checkout, weights):
    model = torch.hub.load(checkout, "custom", weights, source="local")
    np.save(result, np.stack(boxes_in_each_form(model, photo)))


def package(result, photo, *weights):
    load = importlib.import_module("yolov5").load
    np.save(result, np.stack([boxes for path in weights for boxes in boxes_in_each_form(load(path), photo)]))


def together(result, photo, weights):
    """Write the boxes of an ensemble, which YOLOv5 does not wrap for photographs."""
    model, image = host("experimental").attempt_load(weights.split(",")), cv2.imread(photo)
    try:
        letterbox = importlib.import_module(f"{PREFIX}utils.augmentations").letterbox
    except ImportError:
        letterbox = importlib.import_module(f"{PREFIX}utils.datasets").letterbox
    boxed = letterbox(image, SIZE)[0]
    general = importlib.import_module(f"{PREFIX}utils.general")
    with torch.no_grad():
        prediction = model(torch.from_numpy(boxed[..., ::-1].transpose(2, 0, 1)[None] / np.float32(255)))[0]
    boxes = general.non_max_suppression(prediction, CONFIDENCE)[0]
    rescale = getattr(general, "scale_boxes", None) or general.scale_coords
    rescale(boxed.shape[:2], boxes[:, :4], image.shape)
    np.save(result, boxes.numpy())


def boxes_in_each_form(model, photo):
    """Return the boxes of a photograph, given in each form that YOLOv5 documents, as tensors and as tables."""
    model.conf = CONFIDENCE
    forms = [photo, Image.open(photo), np.array(Image.open(photo))]
    found = [model(form, size=SIZE) for form in forms]
    tables = [one.pandas().xyxy[0] for one in found]
    assert [list(table["name"]) for table in tables] == [[f"class {n}" for n in table["class"]] for table in tables]
    return [one.xyxy[0].numpy() for one in found] + [table.iloc[:, :6].to_numpy(np.float32) for table in tables]


def raw(result, *ensembles):
    """Write the predictions of detectors, or of ensembles, whose weights are joined by commas."""
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        predictions = [host("experimental").attempt_load(weights.split(","))(image)[0] for weights in ensembles]
    np.savez(result, *[prediction.numpy() for prediction in predictions])


PREFIX, WAY, *ARGUMENTS = sys.argv[1:]
globals()[WAY](*ARGUMENTS)
