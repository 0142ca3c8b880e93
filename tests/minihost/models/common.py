"""Layers of a miniature host, written for these tests."""

import torch
from torch import nn


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel=1, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)

    def forward(self, x):
        return self.conv(x)


class SPPF(Conv):
    """Only has to be there."""


class SPP(nn.Module):
    def __init__(self, inputs, outputs, kernels=(5, 9, 13)):
        super().__init__()
        self.conv = nn.Conv2d(inputs * (1 + len(kernels)), outputs, 1)
        self.pools = nn.ModuleList(nn.MaxPool2d(kernel, 1, kernel // 2) for kernel in kernels)

    def forward(self, x):
        return self.conv(torch.cat([x, *(pool(x) for pool in self.pools)], 1))


class C3(nn.Module):
    def __init__(self, inputs, outputs, repeats=1, shortcut=True):
        super().__init__()
        self.shortcut = shortcut
        self.layers = nn.Sequential(Conv(inputs, outputs), *(Conv(outputs, outputs, 3) for _ in range(repeats)))

    def forward(self, x):
        return self.layers(x)


class Concat(nn.Module):
    def __init__(self, dimension=1):
        super().__init__()
        self.dimension = dimension

    def forward(self, x):
        return torch.cat(x, self.dimension)
