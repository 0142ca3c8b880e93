"""A miniature host with the bones of YOLOv5's models/yolo.py and names of its own. Non-ASCII, as there: 🚀."""

import copy
import logging

import yaml
from torch import nn

from models.common import C3, SPPF, Concat, Conv

TABLE = logging.getLogger("minihost")


class Detect(nn.Module):
    def __init__(self, nc=80, anchors=(), ch=()):
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(inputs, len(anchors[0]) // 2 * (nc + 5), 1) for inputs in ch)

    def forward(self, maps):
        return [head(one) for head, one in zip(self.heads, maps)]


class Net(nn.Module):
    stride = (8, 16, 32)

    def __init__(self, config, inputs=3):
        super().__init__()
        if isinstance(config, str):
            with open(config) as file:
                config = yaml.safe_load(file)
        self.model, self.kept = parse_model(copy.deepcopy(config), [inputs])

    def forward(self, value):
        results = []
        for layer in self.model:
            if layer.f != -1:
                value = (
                    results[layer.f]
                    if isinstance(layer.f, int)
                    else [value if source == -1 else results[source] for source in layer.f]
                )
            value = layer(value)
            results.append(value if layer.i in self.kept else None)
        return value

    def fuse(self):
        for _ in self.model.modules():
            pass
        return self


def parse_model(config, widths):
    TABLE.info("layers")
    built, wanted = [], []
    gain = config.get("width_multiple", 1)
    for number, (source, repeats, kind, options) in enumerate(config["backbone"] + config["head"]):
        options = [config.get(option, option) if isinstance(option, str) else option for option in options]
        if kind == "nn.Upsample":
            width = widths[source]
            layer = nn.Upsample(None, *options[1:])
        elif kind == "Concat":
            width = sum(widths[index] for index in source)
            layer = Concat(*options)
        elif kind == "Detect":
            width = 0
            layer = Detect(*options, [widths[index] for index in source])
        else:
            kind = {"Conv": Conv, "SPPF": SPPF, "C3": C3}[kind]
            width = int(options[0] * gain)
            options[1:1] = [repeats] if kind is C3 else []
            layer = kind(widths[source], width, *options[1:])
        layer.i, layer.f, layer.type = number, source, type(layer).__name__
        layer.np = sum(parameter.numel() for parameter in layer.parameters())
        TABLE.info("%3d %s", number, layer)
        wanted.extend(index % number for index in ([source] if isinstance(source, int) else source) if index != -1)
        built.append(layer)
        if number == 0:
            widths = []
        widths.append(width)
    return nn.Sequential(*built), sorted(wanted)


class Classifier(nn.Module):
    def __init__(self, net, count=10):
        super().__init__()
        net.model = net.model[:count]
        self.model = net.model


Model = Net
