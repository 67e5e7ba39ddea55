"""Models whose outputs say nothing of what is trained in them."""

import torch
from torch import nn
from torch.nn import functional as F


class Named(nn.LayerNorm):
    """Calls what stands above it by its name, as one did before `super`."""

    def __init__(self, size):
        nn.LayerNorm.__init__(self, size, eps=1e-3)

    def forward(self, x):
        return nn.LayerNorm.forward(self, x.transpose(1, 2)).transpose(1, 2)


class Above(nn.Module):
    def __init__(self):
        nn.Module.__init__(self)
        self.norm = Named(3)

    def forward(self, x):
        return self.norm(x)


class Tuned(nn.Module):
    """A part of it is trained, or not, as a setting has it."""

    def __init__(self, tuned=False):
        super().__init__()
        self.body, self.head, self.tuned = nn.Linear(3, 3), nn.Linear(3, 2), tuned

    def forward(self, x, frozen=False):
        with torch.set_grad_enabled(self.tuned):
            h = self.body(x)
            h = F.relu(h) + 1
        with torch.set_grad_enabled(not frozen):
            y = self.head(h)
        return y


class Returns(Tuned):
    def forward(self, x):
        with torch.set_grad_enabled(self.tuned):
            return self.body(x)


class Remembers(nn.Module):
    """Keeps what it made of a weight in evaluation, which has no gradient then."""

    def __init__(self):
        super().__init__()
        self.table, self.cache = nn.Parameter(torch.randn(3)), {}

    def forward(self, x):
        if "table" not in self.cache:
            self.cache["table"] = self.table * 2
        return x * self.cache["table"]


class Products(nn.Module):
    """Of what it does there is no gradient in JAX."""

    def forward(self, x):
        return x.scatter_reduce(0, torch.zeros_like(x, dtype=torch.long), x + 2, "prod")


class Writes(nn.Module):
    """Writes into its input."""

    def forward(self, x):
        x[:, 0] = 0
        return x.mul_(x.exp())
