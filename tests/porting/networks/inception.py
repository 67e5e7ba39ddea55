"""Branches of several widths, joined by concatenation; a head for training alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicConv2d(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, **kwargs) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, width, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, width, kernel_size=1),
            BasicConv2d(width, width, kernel_size=(1, 3), padding=(0, 1)),
            BasicConv2d(width, width, kernel_size=(3, 1), padding=(1, 0)),
        )
        self.branch_pool = BasicConv2d(in_channels, width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        outputs = [self.branch1(x), self.branch2(x), self.branch_pool(pooled)]
        return torch.cat(outputs, 1)


class InceptionNet(nn.Module):
    def __init__(self, num_classes=7, aux_logits=True):
        super().__init__()
        self.aux_logits = aux_logits
        self.block1 = Inception(3, 4)
        self.block2 = Inception(12, 4)
        if aux_logits:
            self.aux = nn.Linear(12, num_classes)
        self.fc = nn.Linear(12, num_classes)

    def forward(self, x):
        x = self.block1(x)
        aux = self.aux(x.mean([2, 3])) if self.training and self.aux_logits else None
        x = F.max_pool2d(self.block2(x), 2)
        # N x 12 x 4 x 4
        x = F.adaptive_avg_pool2d(x, (1, 1)).view(x.size(0), -1)
        logits = self.fc(x)
        if aux is not None:
            return logits, aux
        return logits


def make():
    return InceptionNet()


INPUT = ((2, 3, 8, 8),)
