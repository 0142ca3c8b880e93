"""A miniature host with the bones of YOLOv5's models/yolo.py and names of its own. Non-ASCII, as there: 🚀."""

import logging

from torch import nn

from models.common import Concat, Conv

TABLE = logging.getLogger("minihost")


class Net(nn.Module):
    def __init__(self, config, inputs=3):
        super().__init__()
        self.model, self.kept = parse_model(config, [inputs])

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
    for number, (source, repeats, kind, options) in enumerate(config["backbone"] + config["head"]):
        kind = {"Conv": Conv, "Concat": Concat}[kind]
        if kind is Concat:
            width = sum(widths[index] for index in source)
            layer = Concat(*options)
        else:
            width = options[0]
            layer = Conv(widths[source], *options)
        layer.i, layer.f = number, source
        TABLE.info("%3d %s", number, layer)
        wanted.extend(index % number for index in ([source] if isinstance(source, int) else source) if index != -1)
        built.append(layer)
        if number == 0:
            widths = []
        widths.append(width)
    return nn.Sequential(*built), sorted(wanted)
