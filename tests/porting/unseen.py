"""Models of which the example does not show all: other branches, other values, luck."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Branches(nn.Module):
    """What the example does not take: methods that mean another thing in JAX, or none."""

    def __init__(self, kind="plain"):
        super().__init__()
        self.fc, self.kind = nn.Linear(4, 4), kind

    def forward(self, x):
        x = self.fc(x)
        if self.kind == "std":
            return x / x.std(0)
        if self.kind == "repeat":
            return x.repeat(2, 1)
        if self.kind == "max":
            return x.max(1)[0]
        if self.kind == "size":
            return x.transpose(-2, -1) / x.size(-1)
        if self.kind == "stored":
            x[0] = 0
        if self.kind == "unknown":
            return self.made(x).argsort(0)
        scaled = x if self.kind == "plain" else x.std(0)
        return scaled * 2

    def made(self, x):
        return x


class Views(nn.Module):
    """Writes into a part of a tensor, of which the example has nothing to write."""

    def forward(self, x):
        y = x * 1
        part = y[:, :2]
        part.clamp_(-8, 8)
        return y


class Second(nn.Module):
    """Writes through a second name."""

    def forward(self, x):
        y = x * 1
        z = y
        z[z > 5] = 0
        return y


class Own(nn.Module):
    """Writes into views of what is not read again, or is another by then."""

    def forward(self, x):
        y = (x * 1).view(-1)
        y.clamp_(-8, 8)
        z = x * 2
        part = z[:, :2]
        z = x + 1
        part.mul_(2)
        flat = x.exp().view(-1)
        same = flat
        same.add_(1)
        return y.sum() + z.sum() + part.sum() + same.view(x.shape).sum() * flat.size(0)


class Hidden(nn.Module):
    """Writes through a name that is not the writer's own."""

    def forward(self, x):
        y = x * 1
        parts = [y[:, :2]]
        for part in parts:
            part.clamp_(-8, 8)
        return y


class Pieces(nn.Module):
    def forward(self, x):
        return torch.stack([piece.sum() for piece in x.chunk(3, 0)])


class Lucky(nn.Module):
    """Drops a path one time in ten."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        if self.training:
            x = x * (torch.rand(1) > 0.1)
        return self.fc(x)


class Layers(nn.Module):
    """Python's random numbers, which a compiled program would draw once."""

    def forward(self, x):
        return x * 2 if random.random() < 0.5 else x * 2 + 0


class Masks(nn.Module):
    """NumPy's random numbers, in training."""

    def forward(self, x):
        if self.training:
            x = x * np.random.rand()
        return x * 2


class Pairs(nn.Module):
    """A tuple without parentheses, of what has no gradients."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    @torch.no_grad()
    def both(self, x):
        return self.fc(x), x * 2

    def forward(self, x):
        a, b = self.both(x)
        return a + b


class Starred(nn.Module):
    def __init__(self):
        super().__init__()
        self.axes = (1, 2)

    def forward(self, x):
        return x.flatten(*self.axes)


class Inner(nn.Module):
    """Takes gradients in its forward, in evaluation too."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 1)

    def forward(self, x):
        x = x.detach().requires_grad_()
        u = self.fc(x)
        return torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]


class Constant(nn.Module):
    """A running mean of 0 but for rounding."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4)

    def forward(self, x):
        h = self.fc(x)
        return self.norm(h - h.mean(0))


class Bytes(nn.Module):
    """Sums of bytes are signed."""

    def forward(self, x):
        return x.sum(1) - 600, x.cumsum(0) - 300, x.sum() - 10**6


class Registry(dict):
    """Runs when the file is imported, and not where it is seen."""

    def __init__(self):
        super().__init__()
        self.known = set()

    def register(self, name):
        def keep(kind):
            self[name] = kind
            self.known.add(name)
            return kind

        return keep


KINDS = Registry()


@KINDS.register("plain")
class Plain(nn.Module):
    def forward(self, x):
        return x * 2


class Registered(nn.Module):
    def __init__(self, name="plain"):
        super().__init__()
        self.part = KINDS[name]()

    def forward(self, x):
        return self.part(x)


class Rows(nn.Module):
    """Edges of bins for each row, as a sampler along rays has them, and axes as a setting."""

    def __init__(self):
        super().__init__()
        self.axes = (1, 0)

    def forward(self, x, u):
        edges = x.abs().cumsum(-1)
        places = torch.searchsorted(edges, u.contiguous(), right=True)
        return torch.gather(edges, -1, places.clamp(max=3)).transpose(*self.axes)


class Keeps(nn.Module):
    """A normalisation that stays in evaluation."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x):
        return self.norm(x)


class Positions(nn.Module):
    """Weights that are not trained, one of them by choice."""

    def __init__(self, learned=False):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3), requires_grad=False)
        self.shift = nn.Parameter(torch.zeros(3), learned)
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return self.fc(x * self.scale) + self.shift


class Arms(nn.Module):
    """What did not run stands in lines that did."""

    def __init__(self, pool=False):
        super().__init__()
        self.pool, self.fc = pool, nn.Linear(4, 4)

    def forward(self, x):
        y = x.mean(1) if self.pool else x[:, 0]
        z = self.fc(y)
        if self.pool: z = z.unsqueeze(-1).expand(-1, -1, 3).std(0)  # fmt: skip  # noqa: E701
        least = self.pool and x.view(x.size(0), -1).norm()
        parts = x.chunk(2, dim=-1) if self.pool and x.size(1) == 1 else (x,)
        return z, y + least if self.pool else y, parts[0]


class Expanded(nn.Module):
    """Expansions with -1 of what has no name, of more axes than one."""

    def forward(self, x, mask):
        z = mask[:, None, :].expand(mask.shape[0], 7, -1)
        w = (x * 2).mean(0, keepdim=True).expand(-1, -1, 4)
        least = torch.scalar_tensor(-1.0, dtype=x.dtype)
        return z, w, torch.where(x > 0, x, least)


class Attends(nn.Module):
    """CLIP's block: a mask that one tower has and the other has not, moved at each call."""

    def __init__(self, width, mask=None):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, 2)
        self.mask = mask
        self.bias = mask * 2 if mask is not None else None

    def forward(self, x):
        self.mask = self.mask.to(dtype=x.dtype, device=x.device) if self.mask is not None else None
        y = self.attn(x, x, x, need_weights=False, attn_mask=self.mask)[0]
        return y if self.bias is None else y + self.bias.sum(-1)[:, None, None].clamp(min=-1)


class Towers(nn.Module):
    """Two towers of one class."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(Attends(8), Attends(8))
        self.text = nn.Sequential(*[Attends(8, self.mask(5)) for _ in range(2)])

    def mask(self, n):
        mask = torch.empty(n, n)
        mask.fill_(-100.0)
        mask.triu_(1)
        return mask

    def forward(self, x, y):
        return self.image(x).mean(0) @ self.text(y).mean(0).t()


class Alone(nn.Module):
    """Functions that change their argument, standing alone."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        y = self.fc(x)
        F.relu(y, inplace=True)
        F.leaky_relu_(y, 0.1)
        torch.relu_(y)
        return y


class Valued(nn.Module):
    """What changes y in place has a value besides, and y is read afterwards."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        y = self.fc(x)
        z = y.mul_(2) + 1
        z = z + F.hardtanh(y, -0.1, 0.1, inplace=True)
        total = y.add_(1) * 2 + z
        for _ in range(2):
            total = total + x.exp() * y.sub_(1)
        y = y.abs_()
        return total + y


class Writer(nn.Module):
    """Writes of which others see something; none changes the example."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.write(self.fc(x))


class Averaged(Writer):
    def __init__(self):
        super().__init__()
        self.slow = nn.Linear(4, 4)
        self.slow.load_state_dict(self.fc.state_dict())

    def write(self, y):
        if self.training:
            for a, b in zip(self.fc.parameters(), self.slow.parameters()):
                b.data = b.data * 0.9 + a.data * 0.1
        return y + self.slow(y)


class Clipped(Writer):
    def write(self, y):
        for weight in self.parameters():
            weight.data.clamp_(-9, 9)
        return self.fc(y)


class OfAList(Writer):
    def write(self, y):
        rows = [y, y + 1]
        for row in rows:
            row.clamp_(min=-50)
        return rows[0] + rows[1]


class OfAnEntry(Writer):
    def write(self, y):
        rows = [y]
        rows[0].clamp_(min=-50)
        return y


class OfEither(Writer):
    def write(self, y):
        part = y if self.training else y[:1]
        part.clamp_(min=-50)
        return y + 1


class OnOneLine(Writer):
    def write(self, y):
        flat = y.view(-1); flat.clamp_(min=-50)  # fmt: skip  # noqa: E702
        return y


class OfASecondName(Writer):
    def write(self, y):
        before = y
        y += self.fc(y).clamp(max=-50) + 50
        return before + y


class OfAComprehension(Writer):
    def write(self, y):
        return sum([row.mul_(2) + row for row in [y, y + 1]])


class ByAFunction(Writer):
    def write(self, y):
        z = self.clipped(y) if y.shape[0] else y
        return y + z

    def clipped(self, values):
        values.clamp_(min=-50)
        return values


class BehindAFunction(ByAFunction):
    """What the function gives back is its argument, and is changed with it."""

    def write(self, y):
        z = self.clipped(y)
        y += 1
        return y + z


class ByAFunctionAlone(ByAFunction):
    """A statement before the one that calls it takes what was written into."""

    def write(self, y):
        z = self.clipped(y).clone()
        place = self.placed(y, 0.1)[..., None].clamp(0, 3)
        rest = self.placed((y + 1).clone(), eps=0.2)
        return y + z + y.gather(-1, place) + rest[:, None].float()

    def placed(self, bins, eps):
        """nflows' searchsorted."""
        bins[..., -1] += eps
        return (bins >= 0).sum(-1)


class Harmless(Writer):
    """Nobody else has what is written into."""

    def write(self, y):
        total = 0
        for row in [y * 1, y * 2]:
            row.mul_(3)
            total = total + row
        for _ in range(2):
            z = self.fc(y)
            z.mul_(2)
            total = total + z
        y = self.clipped(y)
        y, place = self.updated(y)
        return total + self.clipped(y * 2) + y + place

    def updated(self, values):
        values[:, 0] = 1
        return values, 2

    def clipped(self, values):
        return values.clamp_(min=-0.1)
