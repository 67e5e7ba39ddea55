"""Models with something that does not port; the tests name the lines by what stands on them."""

import torch
from torch import nn


class Bessel(nn.Module):
    def forward(self, x):
        x = torch.special.bessel_j0(x)
        return x.histc(4)


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = 0

    def forward(self, x):
        self.count = self.count + 1
        return x


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
