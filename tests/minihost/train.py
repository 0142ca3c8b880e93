"""What a miniature host trains with: freezes modules by their number, and sorts parameters by name, as YOLOv5 does."""

import logging

from models.yolo import Net
from torch import nn
from torch.optim import SGD

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


def optimizer_of(config):
    net, scales, others = Net(config), [], []
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            scales.append(layer.weight)
        elif hasattr(layer, "weight"):
            others.append(layer.weight)
    stepper = SGD(scales, 0.01)
    stepper.add_param_group({"params": others, "weight_decay": 0.1})
    return stepper


def rounds(net, count, first=0):
    for turn in range(first, count):
        LOG.info("round %s", turn)
        net.train()
        yield turn, net


def take_over(kept, config=None):
    LOG.info("take over")
    net = Net(config or kept["net"].yaml)
    values = kept["net"].state_dict()
    values = intersect_dicts(values, net.state_dict())
    net.load_state_dict(values, strict=False)
    return net


def intersect_dicts(one, other):
    return {key: value for key, value in one.items() if key in other and value.shape == other[key].shape}
