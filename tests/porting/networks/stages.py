"""Stages of unequal length, whose parts are added by name and run in their order."""

import torch
import torch.nn as nn

INPUT = [(4, 3, 8, 8)]


class Stage(nn.Module):
    def __init__(self, in_channels, out_channels, depth, last=None):
        super().__init__()
        for i in range(depth):
            conv = nn.Conv2d(out_channels if i else in_channels, out_channels, 3, padding=1)
            self.add_module(f"block{i}", nn.Sequential(conv, nn.ReLU()))
        self.last = last

    def forward(self, x):
        if torch.compiler.is_exporting():
            raise RuntimeError("a branch for torch.export")
        for block in self.children():
            x = block(x)
        return x + sum(name.startswith("block") for name, _ in self.named_children())


HAS_EXPORTING = hasattr(torch.compiler, "is_exporting")


def followed() -> bool:
    return HAS_EXPORTING and torch.compiler.is_exporting()


class Net(nn.Module):
    def __init__(self, depths=(1, 3, 2), num_classes=5):
        super().__init__()
        self.first = Stage(3, 8, depths[0])
        self.second = Stage(8, 6, depths[1], nn.BatchNorm2d(6))
        self.third = Stage(6, 8, depths[2], nn.Tanh())
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.first(x if not followed() else x[:1])
        x = self.third(self.second(x))
        x[:, 1:] = (
            (
                x[:, 1:].reshape(x.size(0), -1, 1)
                + x[:, 1:].reshape(x.size(0), -1, 1).square()
                - 1.0  # the last of three
            ).view_as(x[:, 1:])
        )
        return self.fc(x.mean((2, 3)))


def make():
    return Net()
