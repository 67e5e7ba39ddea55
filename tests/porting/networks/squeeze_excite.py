"""Channels weighted by what the whole image says."""

import torch
from torch import nn


class SELayer(nn.Module):
    def __init__(self, channel, reduction=4):
        super(SELayer, self).__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channel, channel // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channel // reduction, channel, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.avg_pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class SpatialGate(nn.Module):
    def __init__(self, kernel_size=3):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=(kernel_size - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x):
        compressed = torch.cat(
            (torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1
        )
        scale = torch.sigmoid(self.bn(self.conv(compressed)))  # broadcasting
        return x * scale


class SENet(nn.Module):
    def __init__(self, planes=8):
        super().__init__()
        self.stem = nn.Conv2d(3, planes, 3, padding=1)
        self.se = SELayer(planes)
        self.gate = SpatialGate()
        self.head = nn.Linear(planes, 4)

    def forward(self, x):
        x = self.gate(self.se(self.stem(x).relu_()))
        avg = x.mean(dim=(2, 3))
        peak = x.flatten(2).amax(-1)
        spread = x.var(dim=(-2, -1), unbiased=False).add(1e-5).sqrt()
        return self.head(avg + peak - spread)


def make():
    return SENet()


INPUT = ((2, 3, 6, 6),)
