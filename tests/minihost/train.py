"""What a miniature host trains with: freezes modules by their number, as YOLOv5 does."""

import logging

from models.yolo import Net

LOG = logging.getLogger("train")


def freeze(config, count):
    LOG.info("freeze")
    net = Net(config)
    names = [f"model.{number}." for number in range(count)]
    for key, parameter in net.named_parameters():
        parameter.requires_grad = True
        if any(key.startswith(name) for name in names):
            parameter.requires_grad = False
    return net
