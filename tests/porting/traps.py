"""Models that a careless port computes otherwise for other inputs, or in training."""

from dataclasses import dataclass, field

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
        middle = x.median(), (x + 1).median(1, keepdim=True)[0], x.exp().median(dim=0).indices
        third = torch.kthvalue(x - 1, 3, dim=1), x.kthvalue(k=2, keepdim=True).values
        return best, where, order, var, mean, least, places, pairs[0], values, cut, middle, third


class Axes(nn.Module):
    """NumPy's names for arguments, which torch takes as well."""

    def forward(self, x):
        best, where = x.max(axis=1, keepdims=True)
        low = torch.min(x, axis=1, keepdims=True)[0]
        order = x.sort(axis=0)[0] + x.std(axis=1, keepdims=True) + x.softmax(dim=1).sum(axis=0)
        return best, where, low, order, x.mean(axis=0, keepdims=True)


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


class Distances(nn.Module):
    """Norms and distances that are 0 somewhere: torch's gradient is 0 there."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        y = self.fc(x).detach() + self.fc(x)
        rel = y[:, None] - y[None]
        d = rel.norm(dim=-1, keepdim=True) + torch.norm(rel, p=2, dim=2, keepdim=True)
        d = d + torch.linalg.norm(rel, dim=-1, keepdim=True) + torch.cdist(y, y)[..., None]
        whole = torch.norm(y * 0), y.norm(1, dim=1), torch.linalg.norm(y, 2), y.norm("fro", (0, 1))
        return (rel / (1 + d)).sum(1), whole


class Deviations(nn.Module):
    """Standard deviations that are 0 in places: torch's gradient is 0 there."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        y = self.fc(x) * x.detach()
        z = (y - y.mean(-1, keepdim=True)) / (y.std(-1, keepdim=True) + 1e-6)
        std, mean = torch.std_mean(y * 2, dim=(0, 1), correction=0)
        return z + y.std() * torch.std(y, 0, unbiased=False), std + mean, [s.std() for s in y]


class Cancels(nn.Module):
    """The gradient to its shift is what rounding leaves of terms that sum to nearly 0."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))
        self.register_buffer("level", torch.tensor(1e3))

    def forward(self, x):
        with torch.no_grad():
            level = self.level * (1 + x.abs() / 100)
        return level + self.shift * (x / level)


class Teacher(nn.Module):
    """Targets that are not trained, in the three ways that torch has."""

    def __init__(self):
        super().__init__()
        self.online, self.target = nn.Linear(3, 4), nn.Linear(3, 4)
        self.register_buffer("mean", torch.zeros(4))

    @torch.no_grad()
    def targets(self, x, double=True):
        n = x.shape[0]
        if not double:
            return x
        y = self.target(x) * n
        return y

    def forward(self, x):
        y = self.online(x)
        with torch.no_grad():
            scale = 2
            teacher = self.target(x)
            teacher *= y.abs() * scale
            self.mean.copy_(y.mean(0))
        loss = (y - teacher).square() + y * self.targets(x) + self.online(x).data
        return loss + self.targets(y, double=False) + self.mean


class Masked(nn.Conv2d):
    """A forward that writes into its weights, as PixelCNNs do."""

    def forward(self, x):
        self.weight.data *= 0.5
        return super().forward(x)


class MaskedConv2d(nn.Conv2d):
    def __init__(self, kind, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("mask", self.weight.data.clone())
        _, _, height, width = self.weight.size()
        self.mask.fill_(1)
        self.mask[:, :, height // 2, width // 2 + (kind == "B") :] = 0
        self.mask[:, :, height // 2 + 1 :] = 0

    def forward(self, x):
        self.weight.data *= self.mask
        return super().forward(x)


class PixelCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = MaskedConv2d("A", 3, 6, 3, padding=1)
        self.b = MaskedConv2d("B", 6, 6, 3, padding=1)

    def forward(self, x):
        return self.b(self.a(x).relu())


class Tables(nn.Module):
    """Lists and dicts of tensors, those that torch ignores among them, and a private attribute."""

    def __init__(self):
        super().__init__()
        self.anchors = [torch.tensor([1.0, 2.0]), torch.arange(40.0)[:2]]
        self.table = {"a": torch.arange(3.0)}
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))])
        self.shifts = nn.ParameterDict({"x": nn.Parameter(torch.ones(2))})
        self.__width = 2

    def forward(self, x):
        y = (x * self.table["a"])[:, : self.__width] + self.shifts["x"]
        for anchor, scale in zip(self.anchors, self.scales):
            y = y * anchor.to(y.device) * scale
        return y


@dataclass
class Sizes:
    dims: list[int] = field(default_factory=lambda: [3, 2])


class Sized(nn.Module):
    def __init__(self, sizes=None):
        super().__init__()
        self.sizes = sizes or Sizes()
        self.fc = nn.Linear(*self.sizes.dims)

    def forward(self, x):
        return self.fc(x) * self.sizes.dims[0]


class Scaled(nn.Embedding):
    """A subclass of a layer, of which several share a weight."""

    def forward(self, x):
        return super().forward(x) * 2.0


class Shared(nn.Module):
    """One weight in three layers, two of them of the user's own class."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Scaled(7, 3), Scaled(7, 3)
        self.last = nn.Linear(3, 7, bias=False)
        self.second.weight = self.first.weight
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(self.first(x) + self.second(x))


class Numbered(nn.Module):
    """Parts whose names are numbers."""

    def __init__(self):
        super().__init__()
        for n in range(2):
            self.add_module(str(n), nn.Linear(3, 3))
        self.n = 2

    def forward(self, x):
        for n in range(self.n):
            x = getattr(self, str(n))(x).relu()
        return x


class Windows(nn.Module):
    """Overlapping windows, by strides."""

    def forward(self, x):
        stride = list(x.stride())
        size = (x.shape[0], x.shape[1] // 2 - 1, 4, x.shape[2])
        stride = [stride[0], 2 * stride[1], stride[1], stride[2]]
        return x.as_strided(size=size, stride=stride) * x.stride(0)


def normalised():
    """A live layer whose weight is normalised by torch's parametrisations, one after the other."""
    from torch.nn.utils.parametrizations import spectral_norm, weight_norm

    return nn.Sequential(
        weight_norm(nn.Conv1d(3, 4, 3), dim=2),
        spectral_norm(nn.Conv1d(4, 2, 1, bias=False), n_power_iterations=2),
    ).eval()


class Late(nn.Module):
    """Imports where it needs something."""

    def forward(self, x):
        import math

        import torch
        import torch.nn.functional as G
        from torch import cat
        from torch import nn as layers

        x = G.relu(torch.cat([x, x], dim=1)) * math.pi
        return cat([x, x.abs()], 0) if isinstance(x, torch.Tensor) else layers.functional.gelu(x)


try:
    from torch._higher_order_ops.associative_scan import associative_scan
except ImportError:
    associative_scan = None


class Scans(nn.Module):
    """A scan by a function of pairs where there is one, and numbers among what is returned."""

    def forward(self, x):
        def combine(left, right):
            return left[0] * right[0], right[0] * left[1] + right[1]

        if associative_scan is None:
            raise ImportError("a newer torch")
        _, all_ = associative_scan(combine, (x.sigmoid(), x), dim=1, combine_mode="generic")
        return {"all": all_, "length": x.shape[1], "shape": (x.shape[0], x.ndim)}


class Checks(nn.Module):
    """What comes after a branch that torch's compilers take is not written."""

    def forward(self, x):
        if not torch.jit.is_scripting():
            return x + 1
        return torch.special.bessel_j0(x)


class Sums(nn.Module):
    """One call."""

    def forward(self, x):
        return torch.einsum("ij,ij->i", x, x)


class Marked(nn.Module):
    """Marks on containers, which say what is returned."""

    def __init__(self):
        super().__init__()
        self.stages = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.ReLU()) for _ in range(3)))
        self.stages[1].do_output = True

    def forward(self, x):
        kept = []
        for stage in self.stages:
            x = stage(x)
            if hasattr(stage, "do_output") and stage.do_output:
                kept.append(x)
        return x, *kept


class Rebound(nn.Module):
    """A name that a function imports, and then gives to something else."""

    def forward(self, x):
        from torch.nn.functional import relu as act

        if x.shape[0] > 4:
            act = torch.tanh
        return act(x)


class Own(nn.Module):
    """A name that one method imports, and that is the file's own in another."""

    def forward(self, x):
        from torch.nn.functional import relu as act

        return act(x) + self.other(x)

    def other(self, x):
        return act(x)


def act(x):
    """Another one than what `forward` imports."""
    return x * 3


class Transposed(nn.Module):
    """Windows of numbers that do not lie in order."""

    def forward(self, x):
        return x.t().as_strided((2, 2), (1, 1))


class Counter:
    """Not a module."""

    def __init__(self):
        self.n = 0


class Counted(nn.Module):
    """Changes an object that is no module."""

    def __init__(self):
        super().__init__()
        self.counter = Counter()

    def forward(self, x):
        self.counter.n += 1
        return x * (2 if self.counter.n > 8 else 1)


class Places(nn.Module):
    """Buffers whose numbers have no short form here."""

    def __init__(self):
        super().__init__()
        self.register_buffer("zeros", -torch.zeros(300), persistent=False)
        self.fc = nn.Linear(3, 3)
        self.fc.weight.requires_grad_(False)

    def forward(self, x, use_cache=None):
        return self.fc(x).copysign(self.zeros[:3])


class Caching(nn.Module):
    """A model that hands its keywords to a part that keeps a cache."""

    def __init__(self):
        super().__init__()
        self.body = Cached()

    def forward(self, x, **kwargs):
        return self.body(x, **kwargs)


class Cached(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

    def forward(self, x, use_cache=True):
        if use_cache:
            self.cache = x
        return self.norm(self.fc(x))


class Steps(nn.Module):
    """A decoder that keeps its state on itself while it steps."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 4)

    def start(self, x):
        self.h = torch.zeros(x.size(0), 4)
        self.c = torch.zeros(x.size(0), 4)

    def step(self, x):
        self.h, self.c = self.cell(x, (self.h, self.c))
        return self.h

    def forward(self, xs):
        self.start(xs[0])
        return torch.stack([self.step(x) for x in xs])


class BegunSteps(Steps):
    """Which have a value from the constructor that no call needs."""

    def __init__(self):
        super().__init__()
        self.h = torch.zeros(1, 4)
        self.c = torch.zeros(1, 4)

    def start(self, x):
        self.h = torch.zeros(x.size(0), 4)
        self.c = torch.zeros(x.size(0), 4)


class MadeOnce(nn.Module):
    """What is made in the first call, and would be the same in each."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.table = None

    def angles(self, x):
        if self.table is None or self.table.shape[0] < x.shape[0]:
            self.table = torch.outer(torch.arange(x.shape[0]).float(), torch.ones(4))
        return self.table

    def forward(self, x):
        return self.fc(x) * self.angles(x)[: x.shape[0]].cos()


class HandsOn(nn.Module):
    """A state that is None in the first call alone."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 4)
        self.hidden = None

    def forward(self, x):
        if self.hidden is None:
            self.hidden = torch.zeros(x.size(0), 4)
        self.hidden = self.cell(x, self.hidden)
        return self.hidden


class LeavesASize(nn.Module):
    """A size that one method leaves for another: of each input its own."""

    def forward(self, x):
        self.length = x.shape[1]
        self.asked = True
        return self.divided(x)

    def divided(self, x):
        return x / self.length if self.asked else x
