"""Models that a careless port computes otherwise for other inputs, or in training."""

import torch
from torch import nn
from torch.nn import functional as F


class Pieces(nn.Module):
    """Pieces of one size: how many there are is the input's affair."""

    def forward(self, x):
        y = torch.cat([piece.cumsum(1) for piece in x.split(2, dim=1)], dim=1)
        for last in torch.split(x + 1, 4, dim=1):
            y = y + last.sum(1, keepdim=True)
        first, second = y.split(3, dim=1)[:2]
        return first, second, (x * 2).split(5, 1)[0]


class Twice(nn.Module):
    """Calls whose counterpart reads an argument twice, which has no name."""

    def forward(self, x):
        best, where = torch.max(F.softmax(x, 1), 1)
        _, order = (-x).sort(dim=1)
        var, mean = torch.var_mean(x + 1, dim=1, unbiased=False)
        least, places = x.topk(2, dim=0, largest=False)
        pairs = [torch.min(a * 2, 0) for a in x]
        values = torch.lerp(x.exp(), x, 0.3).unflatten(1, (2, -1))
        cut = x.narrow(1, 1, 2), x.topk(2, largest=False)[0]
        return best, where, order, var, mean, least, places, pairs[0], values, cut


class Parts(nn.Module):
    """Writes into parts of arrays, of arrays in lists, and by an index that names a place twice."""

    def forward(self, x, idx):
        x = x * 1; x[0][1] = 5  # noqa: E702  # fmt: skip
        x[1, 2:].clamp_(min=0.3)
        x[2].add_(x[0], alpha=3)
        x[:, 0] **= 2
        x[idx] += x[0]
        x[torch.stack([idx, idx]), 1] *= 3
        x[x > 1] *= 2
        rows = [x.clone(), x + 1]
        rows[-1][:, 0] = 1
        rows[0][1, 1] += 4
        y = x.clone()
        y[x[:, 0] > 0] -= 1
        return x, rows, y


class Copy(nn.Module):
    def forward(self, x, idx):
        x = x * 1
        x[idx].add_(5)
        x.view(-1)[0] = 7
        return x


square = lambda x: x * x  # noqa: E731


class Lambdas(nn.Module):
    """Functions that have no name of their own but that of a global."""

    def __init__(self, act=square):
        super().__init__(); self.act = act  # noqa: E702  # fmt: skip

    def forward(self, x):
        return self.act(x) + square(x)
