"""Models that keep what they computed in a dict."""

import torch
from torch import nn


class Biased(nn.Module):
    """Attention's position biases, looked up once in evaluation."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.table = nn.Parameter(torch.randn(2, 5))
        self.register_buffer("index", torch.tensor([0, 2, 4, 2]), persistent=False)
        self._bias_cache = {}

    def train(self, mode=True):
        super().train(mode)
        self._bias_cache = {}
        return self

    def bias(self, device, row=0):
        if self.training:
            return self.table[row, self.index]
        key = (str(device), row)
        if key not in self._bias_cache:
            table = self.table[row]
            self._bias_cache[key] = table[self.index]
        return self._bias_cache[key]

    def forward(self, x):
        return self.fc(x) + self.bias(x.device) + self.bias(x.device, 1)


class Full(nn.Module):
    """A cache that was filled before it was ported, and that `train` looks at."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(3))
        self.cache = {}

    def train(self, mode=True):
        super().train(mode)
        if mode and self.cache:
            self.cache = {}
        return self

    def forward(self, x):
        if self.training:
            return x * self.table
        else:
            key = str(x.device)
            if key not in self.cache:
                self.cache[key] = self.table * 1.0
            return x * self.cache[key]


class Remembers(nn.Module):
    """What is kept depends on more than the key."""

    def __init__(self):
        super().__init__()
        self.cache = {}

    def forward(self, x, key="first"):
        if key not in self.cache:
            self.cache[key] = x * 2
        return self.cache[key]


class Counts(nn.Module):
    """Another method looks at the dict."""

    def __init__(self):
        super().__init__()
        self.cache = {}

    def size(self):
        return len(self.cache)

    def forward(self, x, key="first"):
        if key not in self.cache:
            self.cache[key] = torch.ones(3)
        return x * self.cache[key] + self.size()
