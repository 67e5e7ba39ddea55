"""What research code does: helpers, aliases, constants of NumPy's, layers that start at 0."""

import numpy as np
import torch
from torch import nn


class Sizes(nn.Module):
    """A precision that a property reads off a part, as in improved-diffusion."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    @property
    def inner_dtype(self):
        return next(self.fc.parameters()).dtype

    def forward(self, x):
        return checkpoint(self._forward, (x.type(self.inner_dtype),), self.parameters(), False)

    def _forward(self, x):
        return self.fc(x)


def checkpoint(func, inputs, params, flag):
    if flag:
        raise NotImplementedError(f"of {len(tuple(params))}")
    return func(*inputs)


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * s * (1 + x * (1 - s))


swish = Swish.apply


class Aliased(nn.Module):
    """A function of one's own under a name of the module's."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return swish(self.fc(x))


class Arrays(nn.Module):
    """Constants of NumPy's, small and large."""

    def __init__(self):
        super().__init__()
        self.order = np.arange(3)[::-1].copy()
        self.steps = np.linspace(0, 1, 300)

    def forward(self, x):
        return x[:, self.order] + torch.as_tensor(self.steps).float().mean()


def zero_module(module):
    for p in module.parameters():
        p.detach().zero_()
    return module


def ones(module):
    for weight in module.parameters():
        nn.init.ones_(weight)
    return module


class Zeros(nn.Module):
    """A last layer that starts at 0, by a helper."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), ones(nn.Linear(3, 3))
        self.out = zero_module(nn.Linear(3, 2))

    def forward(self, x):
        return self.out(torch.sin(self.b(self.a(x))))


class Drawn(nn.Module):
    """Weights, a buffer and a constant, drawn and scaled."""

    def __init__(self, scale=0.3, constant=False):
        super().__init__()
        self.w = nn.Parameter(scale * torch.rand(3, 3))
        self.register_buffer("b", torch.randn(3, 4) * 10)
        self.c = torch.rand(400, 4) if constant else None

    def forward(self, x):
        y = torch.sin(x @ self.w @ self.b)
        return y if self.c is None else y + self.c.sum(0)


class Farthest(nn.Module):
    """PointNet++'s sampling: the same mask on both sides."""

    def forward(self, x):
        near = torch.ones(x.shape[0], x.shape[1]) * 1e10
        for i in range(2):
            dist = (x - x[:, i : i + 1]) ** 2
            mask = dist < near
            near[mask] = dist[mask]
            rest = near > 1
            near[rest] += dist[rest]
        return near


class Attributes(dict):
    """HiFi-GAN's settings: a dict whose entries are attributes."""

    def __init__(self, **entries):
        super().__init__(**entries)
        self.__dict__ = self


def init_weights(m, std=0.01):
    if isinstance(m, nn.Linear):
        m.weight.data.normal_(0.0, std)


class Configured(nn.Module):
    """Settings by name, as an entry, and asked for; weights filled by a function."""

    def __init__(self, h):
        super().__init__()
        self.h = h
        self.net = nn.Sequential(nn.Linear(3, h.width), nn.ReLU(), nn.Linear(h["width"], 2))
        self.net.apply(init_weights)
        self.scale = h.scale if "scale" in h else 1.0

    def forward(self, x):
        return self.net(x) * self.scale
