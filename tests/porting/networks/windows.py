"""Attention in overlapping windows, with pieces that do not come out even."""

import torch
import torch.nn as nn

INPUT = [(2, 3, 7, 9)]


class Windows(nn.Module):
    def __init__(self, dim, size=3, step=2):
        super().__init__()
        self.size, self.step = size, step
        self.qkv = nn.Conv2d(dim, 3 * dim, 1)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=1)
        keys = k.unfold(2, self.size, self.step).unfold(3, self.size, self.step)
        values = v.unfold(2, self.size, self.step).unfold(-2, self.size, self.step)
        first = q[:, :, ::2, ::2][:, :, :3, :4, None, None]
        weights = (first * keys).flatten(4).softmax(dim=-1)
        return (weights * values.flatten(4)).sum(-1)


class Net(nn.Module):
    def __init__(self, dim=8, num_classes=5):
        super().__init__()
        self.stem = nn.Conv2d(3, dim, 1)
        self.windows = Windows(dim)
        self.fc = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.windows(self.stem(x)).flatten(2).transpose(1, 2)  # [N, 12, C]
        long, middle, short = x.split(5, dim=1)
        first, *_, last = self.thirds(x)
        assert len(self.thirds(short)) == 2  # not three
        pieces = [part.mean(1) for part in self.cut(x) + self.cut(short)]
        pooled = long.mean(1) + middle.amax(1) + short.sum(1) + first.mean(1) * last.mean(1)
        return self.fc(pooled + sum(pieces))

    def cut(self, x):
        return x.split(5, 1)

    def thirds(self, x):
        return torch.chunk(x, 3 if x.size(1) < 12 else 7, 1)


def make():
    return Net()
