"""Models with something that does not port; the tests name the lines by what stands on them."""

import numpy as np
import torch
from torch import nn


class Bessel(nn.Module):
    def forward(self, x):
        x = torch.special.bessel_j0(x)
        return x.renorm(2, 0, 1.0)


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = 1

    def forward(self, x):
        self.count = self.count + 1
        return x * self.count


class Uneven(nn.Module):
    def forward(self, x):
        return self.halves(x)[0] + self.halves(x[:, 1:])[0]

    def halves(self, x):
        return (x * 2).chunk(2, dim=1)


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant = torch.ao.quantization.QuantStub()

    def forward(self, x):
        return self.quant(x)


class Replaced(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Identity()
        self.part.forward = lambda x: x + 1

    def forward(self, x):
        return self.part(x)


class Chosen(nn.Module):
    """The forward is another method of the object."""

    def __init__(self, forward):
        super().__init__()
        self.forward = getattr(self, forward)

    def once(self, x):
        return x.mul(3)

    def twice(self, x):
        return self.once(x) * 2


class Branches(nn.Module):
    """One branch does not run, and cannot be ported."""

    def forward(self, x, bessel=False):
        if bessel:
            x = torch.special.bessel_j0(x)
        else:
            x = x * 2
        return x

    def unused(self, x):
        return torch.special.bessel_j0(x)


class IntoArgument(nn.Module):
    """Helpers that change what they are given, for their caller."""

    def forward(self, x):
        x = x * 1
        self.scaled(x)
        self.early(x)
        self.cleared(x)
        self.raised(x)
        self.looped(x)
        return x

    def scaled(self, x):
        x.mul_(3)

    def early(self, x):
        if x.shape[0] > 5:
            return
        self.scaled(x)

    def cleared(self, x):
        x[:, 0] = 0

    def raised(self, x):
        x += 5

    def looped(self, y):
        for i in range(2):
            y[i].add_(1)


class IntoArgumentToo(nn.Module):
    """Helpers that return something else, or are given what has no name."""

    def forward(self, x):
        x = x * 1
        n = self.divided(x)
        self.added(x[0])
        return x * n

    def divided(self, x):
        x.div_(3)
        return 2

    def added(self, x):
        x.add_(3)


class OwnArgument(nn.Module):
    """Writes into arguments that are read or returned afterwards, or into a copy."""

    def forward(self, x):
        x = self.returned(x * 1)
        return x + self.read(x * 1) + self.copied(x) + self.looped(x * 1)

    def returned(self, x):
        x.mul_(3)
        x += 1
        return x

    def read(self, x):
        x[:, 0] = 0
        return x.sum()

    def copied(self, x):
        y, x = x, x.clone()
        x.zero_()
        return y

    def looped(self, x):
        total = 0
        for _ in range(2):
            total = total + x.sum()
            x.mul_(2)
        return total


GRID = {}


class OutsideCache(nn.Module):
    """A cache outside of the model, as RIFE's."""

    def forward(self, x):
        key = str(x.size())
        if key not in GRID:
            GRID[key] = torch.linspace(-1.0, 1.0, x.size(1)) * x.new_ones(1)
        return x + GRID[key]


class NumPys(nn.Module):
    """Anchors, of an array that NumPy's functions read in each call."""

    def __init__(self):
        super().__init__()
        self.ratios = np.array([0.5, 1.0, 2.0])

    def forward(self, x):
        ratios = self.ratios
        return x * torch.from_numpy(np.sqrt(ratios).astype(np.float32))
