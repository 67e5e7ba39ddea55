"""Subclasses of torch's layers: one that norms and activates, others that pad."""

from enum import Enum

import torch
import torch.nn as nn
import torch.nn.functional as F

INPUT = [(4, 3, 8, 8)]


class BatchNormAct2d(nn.BatchNorm2d):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, slope=0.0):
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.act = nn.LeakyReLU(slope) if slope else nn.ReLU()
        self.scale = 1.0 - slope

    def forward(self, x):
        return self.act(super().forward(x)) * self.scale + self.eps


class Conv2dSame(nn.Conv2d):
    def __init__(self, in_channels, out_channels, kernel_size, bias=True):
        super().__init__(in_channels, out_channels, kernel_size, padding=0, bias=bias)
        self.pad = [(kernel_size - 1) // 2] * 4

    def forward(self, x):
        return F.conv2d(F.pad(x, self.pad), self.weight, self.bias, self.stride)


class MaxPool2dSame(nn.MaxPool2d):
    def __init__(self, kernel_size):
        super().__init__((kernel_size, kernel_size), stride=(2, 2))

    def forward(self, x):
        rows, columns = ((size - 1) // 2 for size in self.kernel_size)
        x = F.pad(x, (columns, columns, rows, rows), value=-1e9)
        return F.max_pool2d(x, self.kernel_size, self.stride[1])


class Pooling(str, Enum):
    MEAN = "mean"
    MAX = "max"


class Net(nn.Module):
    def __init__(self, num_classes=5, pooling=Pooling.MAX):
        super().__init__()
        self.pooling = pooling
        self.conv = Conv2dSame(3, 8, 3, bias=False)
        self.norm = BatchNormAct2d(8, eps=1e-3, slope=0.1)
        self.pool = MaxPool2dSame(3)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.norm(self.conv(x)))
        places = [torch.linspace(0, 1, size) for size in x.shape[2:]]
        x = x + torch.stack(torch.meshgrid(places, indexing="ij")).mean(0)
        if self.pooling == Pooling.MEAN:
            return self.fc(x.mean((2, 3)))
        return self.fc(x.amax((2, 3)))


def make():
    return Net(pooling=Pooling("mean"))
