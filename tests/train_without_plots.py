"""Run inside a YOLOv5 checkout: train.py without its plots, which take longer than the rest of a small training.

Later releases have --noplots for that. Use: python train_without_plots.py PACKAGE_PREFIX OPTIONS...
"""

import importlib
import runpy
import sys

import torch


def leave_out_plots(prefix):
    """Let the host draw neither labels, images and results, nor the graph of the network, which it traces for that."""
    plots = importlib.import_module(f"{prefix}utils.plots")
    plots.plot_labels = plots.plot_images = plots.plot_results = nothing
    tensorboard = importlib.import_module("torch.utils.tensorboard")
    tensorboard.SummaryWriter.add_graph = torch.jit.trace = nothing


def nothing(*_, **__):
    pass


if __name__ == "__main__":
    module = f"{sys.argv[1]}train"
    leave_out_plots(sys.argv.pop(1))
    runpy.run_module(module, run_name="__main__", alter_sys=True)
