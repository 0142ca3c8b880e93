"""What a miniature host exports with: builds layers of another kind, from a Net's, as YOLOv5's models/tf.py does."""

import copy
import logging
from types import SimpleNamespace

from models.yolo import Net

TABLE = logging.getLogger("minihost")


class Stack:
    def __init__(self, layers):
        self.layers = layers


class Layer:
    def __init__(self, weights):
        self.weights = weights

    def __call__(self, value):
        return self.weights(value)


keras = SimpleNamespace(Sequential=Stack)


def parse_model(config, widths, net):
    TABLE.info("layers")
    built, wanted = [], []
    width = widths[-1]
    for number, (source, repeats, kind, options) in enumerate(config["backbone"] + config["head"]):
        if kind == "Concat":
            width = sum(widths[-1 if index == -1 else index + 1] for index in source)
        elif kind in ("Conv", "SPPF", "C3"):
            width = options[0]
        elif kind not in ("nn.Upsample", "Detect"):
            raise NameError(kind)
        layer = Layer(net.model[number])
        layer.i, layer.f = number, source
        wanted.extend(index % number for index in ([source] if isinstance(source, int) else source) if index != -1)
        built.append(layer)
        widths.append(width)
    return keras.Sequential(built), sorted(wanted)


class Export:
    def __init__(self, net, config):
        assert isinstance(net, Net)
        self.model, self.kept = parse_model(copy.deepcopy(config), [3], net)

    def predict(self, value):
        results = []
        for layer in self.model.layers:
            if layer.f != -1:
                value = (
                    results[layer.f]
                    if isinstance(layer.f, int)
                    else [value if source == -1 else results[source] for source in layer.f]
                )
            value = layer(value)
            results.append(value if layer.i in self.kept else None)
        return value
