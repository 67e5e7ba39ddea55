"""Ways of writing that are common in published PyTorch code, a small model for each kind."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.autograd import Variable
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


@dataclass
class Sizes:
    width: int = 4
    heads: int | str = "auto"

    def __post_init__(self):
        if self.heads == "auto":
            self.heads = 2


class Options:
    kind = "small"

    def __init__(self, scale=2.0, **rest):
        self.scale = scale
        for name, value in rest.items():
            setattr(self, name, value)


@dataclass
class Output:
    total: torch.Tensor
    parts: dict[str, torch.Tensor] | None = None


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor | None = None


@torch.jit.script
def bent(x):
    return x * 0.5 * (1.0 + torch.erf(x / 1.5))


class Configured(nn.Module):
    """Objects and dataclasses as configuration, and what constructors do besides."""

    def __init__(self, sizes=None, options=None):
        super().__init__()
        self.sizes, self.options = sizes or Sizes(), options
        self.act = {"sin": torch.sin, "tanh": torch.tanh}[options.act]
        self.conv = weight_norm(nn.Conv1d(self.sizes.width, self.sizes.heads, 3, padding=1))
        self.gain = nn.Parameter(torch.Tensor(self.sizes.heads, 1).fill_(options.scale))
        self.gain._no_weight_decay = True
        self.shift = nn.Parameter(torch.FloatTensor(1).normal_(std=0.02), requires_grad=False)
        self.reset()
        for parameter in self.conv.parameters():
            parameter.requires_grad = False
        print(f"{self.count()} weights")

    def count(self):
        return sum(p.numel() for p in self.parameters())

    def reset(self):
        for part in self.modules():
            if isinstance(part, nn.Conv1d):
                n = part.kernel_size[0] * part.out_channels
                part.bias.data.normal_(0, math.sqrt(2.0 / n))

    @property
    def dtype(self):
        return next(self.parameters()).dtype

    def forward(self, x):
        x = x.to(dtype=self.dtype)
        x = bent(self.act(self.conv(x))) * self.gain + self.shift
        if self.options.kind != "small":
            x = x * 2
        return Output(total=x.sum(), parts={"z": x, "a": x.mean(-1), "m": x[:, :1]})


class Places(nn.Module):
    """Writes by index and mask, and what gives several arrays."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(5))
        self.register_buffer("places", torch.arange(5).expand((1, -1)), persistent=False)

    def forward(self, x, where):
        weights, chosen = torch.topk(x, 2, dim=-1)
        mask = torch.zeros_like(x).scatter_(1, chosen, weights)
        mask.scatter_(1, where.unsqueeze(1), 9.0)
        sums = torch.zeros(5).index_add_(0, where, x[:, 0])
        spread = torch.zeros(3, 5).scatter_add_(1, chosen, weights)
        mask[mask > 8] = -1.0
        mask[x[:, 0] > 0.5] = 0.0
        best = x.max(dim=1)
        var, mean = torch.var_mean(mask, dim=1)
        if self.training:
            self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
        return Pair(mask, second=spread), best.values, best.indices, var, mean, sums + self.places


class Old(nn.Module):
    """Of older files: Variable, torch.mm, numbers through NumPy."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 9)
        self.data_format = "first"

    def forward(self, x):
        x = x.contiguous()
        x = x + torch.mean((1 - x) * (x + 2)) * len(self.data_format)
        eye = Variable(torch.from_numpy(np.eye(3).astype(np.float32).flatten())).view(1, 9)
        x = (self.fc(x) + eye.repeat(x.size(0), 1)).view(-1, 3, 3)
        z = torch.view_as_complex(x[:, :, :2].contiguous()) * torch.polar(
            x[:, :, 0].abs(), x[:, :, 1]
        )
        x = torch.mm(x[0], x[1]) + torch.Tensor([1, 0, 2])
        return (
            torch.hstack([x, torch.cdist(x, x + 1)]),
            torch.view_as_real(z * 2),
            torch.slogdet(x)[1],
        )


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 3, batch_first=True, bidirectional=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, hidden = self.rnn(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        return F.relu(out), hidden


class Shared(nn.Module):
    """Layers with the older weight_norm, each under two names, and a buffer of random numbers."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.utils.weight_norm(nn.Conv1d(2, 3, 2), dim=1)
        self.net = nn.Sequential(self.conv, nn.Tanh())
        self.register_buffer("waves", torch.randn(3) / 2)

    def forward(self, x):
        x = self.net(x) * self.waves[:, None]
        index = torch.arange(3)
        return torch.zeros_like(x).scatter_add_(1, index.view(-1, 1).expand_as(x[0])[None], x[:1])


class Random(nn.Module):
    def __init__(self, persistent=True):
        super().__init__()
        self.register_buffer("waves", torch.randn(3, 2) / 2, persistent=persistent)
        self.weight = nn.Parameter(torch.randn(2, 2).div_(math.sqrt(2)))

    def forward(self, x):
        return self.waves @ self.weight @ x
