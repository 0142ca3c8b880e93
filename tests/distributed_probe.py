"""One of the processes of a distributed training on the CPU; writes the gradients of its first step.

Use: python distributed_probe.py RANK PROCESSES STORE RESULT.pt MODULE [YAML]. MODULE is `models.backbone.efficientvit.network`
for the backbone alone, or a host's models/yolo.py, whose model is built from the yaml.
"""

import datetime
import importlib
import sys

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

IMAGES = 4  # in all processes together
STEPS = 2  # the second waits for every gradient of the first


def outputs_of(model, images):
    return [output.float() for output in model(images)]


def main():
    rank, processes, store, result, module, *config = sys.argv[1:]
    rank, processes = int(rank), int(processes)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = importlib.import_module(module)
    model = found.Model(*config) if config else found.EfficientViT_M0()
    for name, value in model.named_parameters():
        if name.endswith("bn.weight"):
            value.data.uniform_(0.5, 1.5)  # every residual branch counts
    model.train()
    for child in model.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.eval()  # its statistics are those of one process
    images = torch.rand(IMAGES, 3, 64, 64)[rank * IMAGES // processes :][: IMAGES // processes]
    trained = model
    if processes > 1:
        distributed.init_process_group("gloo", f"file://{store}", datetime.timedelta(seconds=60), processes, rank)
        trained = DistributedDataParallel(model)  # which fails on a parameter without a gradient
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    for step in range(STEPS):
        optimizer.zero_grad()
        sum(output.square().mean() for output in outputs_of(trained, images)).backward()
        if step == 0:
            torch.save({name: value.grad.clone() for name, value in model.named_parameters()}, result)
        optimizer.step()


if __name__ == "__main__":
    main()
