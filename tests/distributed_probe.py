"""A distributed training on the CPU, in one process and in two; writes the gradients of each one's first step.

Use: python distributed_probe.py FOLDER MODULE [YAML or FROZEN_EPOCHS]. FOLDER receives 1.pt and 2.pt. MODULE is
`models.backbone.efficientvit.network` for the backbone alone, or a host's models/yolo.py, whose model is built from the yaml.
Each step is an epoch. If epochs are frozen, the gradients are those of the first that is not.
"""

import datetime
import importlib
import multiprocessing
import sys
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

IMAGES = 4  # in all processes together
STEPS = 2  # the second waits for every gradient of the first


def outputs_of(model, images):
    return [output.float() for output in model(images)]


def main():
    folder, module, *config = sys.argv[1:]
    for processes in (1, 2):
        started = [
            multiprocessing.get_context("fork").Process(target=train, args=(rank, processes, folder, module, config))
            for rank in range(processes)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(300)
        if any(process.exitcode for process in started):
            sys.exit(f"{processes} processes failed")


def backbone(network, frozen_epochs):
    """One that normalises images, frozen up to its first stage for some epochs."""
    return network.EfficientViT_M0(
        normalize=[[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]],
        frozen_stages=2 * frozen_epochs,
        frozen_epochs=frozen_epochs,
    )


def train(rank, processes, folder, module, config):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = importlib.import_module(module)
    frozen_epochs = int(config.pop()) if config and config[0].isdigit() else 0
    model = found.Model(*config) if config else backbone(found, frozen_epochs)
    for name, value in model.named_parameters():
        if name.endswith("bn.weight"):
            value.data.uniform_(0.5, 1.5)  # every residual branch counts
    images = torch.rand(IMAGES, 3, 64, 64)[rank * IMAGES // processes :][: IMAGES // processes]
    trained = model
    if processes > 1:
        distributed.init_process_group(
            "gloo", f"file://{folder}/store", datetime.timedelta(seconds=60), processes, rank
        )
        trained = DistributedDataParallel(model)  # which fails on a parameter without a gradient
    trained.names = ["circle"]  # on the wrapper, where YOLOv5 writes them
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    for step in range(STEPS):
        if frozen_epochs:
            from models.backbone.yolo import begin_epoch

            trained = begin_epoch(trained, step, print)
        trained.train()
        for child in model.modules():
            if isinstance(child, nn.BatchNorm2d):
                child.eval()  # its statistics are those of one process
        optimizer.zero_grad()
        sum(output.square().mean() for output in outputs_of(trained, images)).backward()
        assert trained.names == ["circle"]
        if step == frozen_epochs and rank == 0:
            gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
            torch.save(gradients, Path(folder, f"{processes}.pt"))
        optimizer.step()


if __name__ == "__main__":
    main()
