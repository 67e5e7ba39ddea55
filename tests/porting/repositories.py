"""Models as repositories of speech, detection and reinforcement learning write them."""

import logging
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

logger = logging.getLogger(__name__)

try:
    import apex_of_another_time as apex  # type: ignore[import-not-found]

    FUSED = True

    class Norm(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(width))

        def forward(self, x):
            return apex.norm(x) * self.weight

except ImportError:
    apex = None
    FUSED = False

    class Norm(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.weight = nn.Parameter(torch.full((width,), 2.0))

        def forward(self, x):
            return x * self.weight


if hasattr(torch, "compile"):
    INVERTED = True

    def scaled(x):
        return 3 * x

else:
    INVERTED = False

    def scaled(x):
        return 5 * x


SIZES = [1, 2]
SIZES += [3]
GAIN = 1.0


def set_gain(gain):
    """Called before a model is made."""
    global GAIN
    GAIN = gain


class Chosen(nn.Module):
    """What a file defines several times, one of which is meant."""

    def __init__(self):
        super().__init__()
        self.norm = Norm(4)

    def forward(self, x):
        if self.training:
            x = F.dropout(x, 0.0 if INVERTED else 0.9, True)
        x = x - 1 if FUSED else x + len(SIZES)
        return scaled(self.norm(x)) * GAIN


class Anchors(nn.Module):
    """Tensors in lists and dicts, moved by each call, as detection has them."""

    def __init__(self, sizes=((1, 2), (3, 4, 5))):
        super().__init__()
        self.cells = [self.cell(size) for size in sizes]
        table = {"a": torch.arange(4.0), "b": torch.ones(4)}
        self.table = table
        self.more = []
        for n in range(3):
            self.more.append(torch.full((4,), float(n)))
        self.fc = nn.Linear(4, 4)

    def cell(self, size):
        return torch.as_tensor(size, dtype=torch.float32) * 2

    def move(self, device):
        self.cells = [cell.to(device) for cell in self.cells]

    def forward(self, x):
        self.move(x.device)
        torch._assert(
            len(self.cells) == 2,
            "there are two cells, "
            "one for each map",
        )  # fmt: skip
        torch._check(x.ndim == 2, lambda: "rows are expected")
        y = self.fc(x + self.table["a"]) * self.table["b"]
        for cell, more in zip(self.cells, self.more):
            y = y * cell.mean() + more
        return y


class Fills(nn.Module):
    """First values over a list of parts, and from what no forward calls."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.FloatTensor(4))
        self.start()
        rescale(self, reference=0.1)
        logger.info("number of parameters: %e", sum(p.numel() for p in self.parameters()))

    def start(self):
        for part in [self.one, self.two]:
            for name, weight in part.named_parameters():
                if name.endswith("bias"):
                    nn.init.zeros_(weight)
        with torch.no_grad():
            noise = torch.rand(4)
            self.scale.data.copy_(self.solved(torch.eye(4), noise))

    def solved(self, a, b):
        return torch.linalg.lstsq(a, b[:, None]).solution[:, 0]

    def forward(self, x):
        return self.two(self.one(x)) * self.scale


def rescaled(layer, reference):
    std = layer.weight.std().detach()
    scale = (std / reference) ** 0.5
    layer.weight.data /= scale
    if layer.bias is not None:
        layer.bias.data /= scale


def rescale(module, reference):
    """Scales the first values of all layers."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            rescaled(part, reference)


def init(module, weight_init, bias_init, gain=1):
    weight_init(module.weight.data, gain=gain)
    bias_init(module.bias.data)
    return module


def layer_init(layer, std=np.sqrt(2), bias_const=0.0):  # noqa: B008
    nn.init.orthogonal_(layer.weight, std)
    nn.init.constant_(layer.bias, bias_const)
    return layer


class Agent(nn.Module):
    """Initialisers that are arguments, defaults and widths that are NumPy's, an infinite radius."""

    def __init__(self, shape=(4,), radius=float("inf")):
        super().__init__()
        gain = np.sqrt(2)
        init_ = lambda m: init(m, nn.init.orthogonal_, lambda b: nn.init.constant_(b, 0), gain)
        self.actor = init_(nn.Linear(int(np.array(shape).prod()), 4))
        self.critic = layer_init(nn.Linear(4, 4), std=1.0)
        self.radius = radius
        self.t = np.arange(4) / 4

    def forward(self, x):
        basis = torch.tensor(np.array([self.t**n for n in range(4)])).float()
        return torch.where(x < self.radius, self.critic(self.actor(x)) @ basis, x)


class Wide(nn.Module):
    """A width that is a number of NumPy's."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(np.array((2, 2)).prod(), 4)

    def forward(self, x):
        return self.fc(x)


@torch.jit.script
def gate(x, n_channels):
    n = n_channels[0]
    return torch.tanh(x[:, :n]) * torch.sigmoid(x[:, n:])


class Gated(nn.Module):
    """A number of channels in a tensor, as vocoders hand it to what is scripted."""

    def __init__(self):
        super().__init__()
        self.n = 2
        self.norm = self.normed(nn.Linear(4, 4))

    def normed(self, layer):
        return layer if not isinstance(layer, nn.modules.conv._ConvNd) else nn.Identity()

    def forward(self, x):
        return gate(self.norm(x), torch.IntTensor([self.n]))


class Chunks(nn.Module):
    """Statistics of a few rows at a time, of any number of rows."""

    def forward(self, x):
        count = math.ceil(x.shape[0] / 2)
        return torch.cat([part - part.mean(0) for part in x.chunk(count, 0)])


class Token(nn.Module):
    """A weight for each of several dimensions that come as a list."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))

    def token(self, *dims):
        return self.weight.view(*(1,) * (len(dims) - 1), -1).expand(*dims, -1)

    def forward(self, x):
        return torch.cat([x[:, None], self.token(len(x), 1)], dim=1)


class Farthest(nn.Module):
    """A point to begin with, drawn in evaluation, too."""

    def forward(self, x):
        start = torch.randint(0, x.shape[1], (len(x),), dtype=torch.long)
        return x[torch.arange(len(x)), start]


class Sparse(nn.Module):
    """A sparse buffer that no forward reads."""

    def __init__(self):
        super().__init__()
        self.register_buffer("heads", torch.eye(3).to_sparse(), persistent=False)
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x)


class ReadsSparse(Sparse):
    def forward(self, x):
        return self.fc(x)[:, :3] + self.heads


class Parallel(nn.Module):
    """A width that depends on how many processes another package says there are."""

    def __init__(self):
        super().__init__()
        import parallel_of_another_place as parallel  # type: ignore[import-not-found]

        self.width = 4 // parallel.world_size()
        self.fc = nn.Linear(4, self.width)

    def forward(self, x):
        return self.fc(x)


CONFIG = {"p": 0.9}
CONFIG["p"] = 0.1
TABLE = torch.zeros(4)
TABLE[1] = 4
FIRST, SECOND = 2, 3
FIRST, SECOND = SECOND, FIRST


class Scaled(nn.Module):
    factor = 2


Scaled.factor = 9


class Changed(Scaled):
    """Constants that a file changes after it has made them; in training alone one is read."""

    def forward(self, x):
        x = F.dropout(x, CONFIG["p"], self.training)
        return (x + TABLE) * self.factor + FIRST - 10 * SECOND


class Detached(nn.Module):
    """`Variable(t)`, which today is `t.detach()`, where dropout hides it."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        noise = torch.autograd.Variable(torch.zeros(4))
        y = self.drop(self.fc(x)) + noise
        return y * torch.autograd.Variable(y.abs().mean())


def rotated(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), -1)


@torch.jit.script
def rotary(x, angles):
    return x * angles.cos() + rotated(x) * angles.sin()


def identity(x):
    return x


def world_size():
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def is_distributed():
    return torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1


def reduced(x, op=torch.distributed.ReduceOp.SUM):
    if not is_distributed():
        return x
    torch.distributed.all_reduce(x, op=op)
    return x


class Pieces(nn.Module):
    """Scripted functions, functions as values, early returns, other names for methods."""

    def __init__(self, chunks=1):
        super().__init__()
        self.chunks = chunks
        self.fc = nn.Linear(4, 4)
        self.register_buffer("angles", torch.arange(4.0))
        self.train()

    def whole(self, x):
        return self.fc(x)

    total = whole

    def mixed(self, x):
        if self.chunks == 1:
            return self.fc(x)
        parts = x.chunk(self.chunks, dim=1)
        return torch.cat([self.fc(part) for part in parts], dim=1)

    def forward(self, x):
        stop = torch.detach if self.training else identity
        limit = torch.clamp if self.chunks > 1 else identity
        assert x.ndimension() == 2
        length = torch.linalg.vector_norm(x, dim=list(range(1, x.dim())), keepdim=True)
        x = limit(self.mixed(x)) + stop(length) * world_size()
        return reduced(rotary(x, self.angles))


class Limits(nn.Module):
    """Values that lie on a limit, where torch's gradient is 1, and magnitudes of 0."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        x = (x * 1.5).round() * self.weight
        x = x.clamp(0, 1) + x.clamp_min(-1.0) + x.clamp_max(1) + torch.clip(x, -1, 2)
        return x + (x * self.weight.sub(1)).abs() + torch.abs(self.weight - 1)


class Undefined(nn.Module):
    """A weight that is nothing yet."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), float("nan")))

    def forward(self, x):
        return x * self.weight


class Kernel(nn.Module):
    """A constructor that computes with what it has registered."""

    def __init__(self, factor=2):
        super().__init__()
        kernel = torch.outer(torch.arange(4.0), torch.arange(4.0))
        self.register_buffer("kernel", kernel / (1 + kernel.sum()))
        self.kernel = self.kernel * factor**2
        self.register_buffer("mask", torch.ones(4))
        self.mask[1] = 0
        self.mask *= 2 + 1
        self.plain = torch.zeros(4)
        self.plain[:2] = 5
        self.plain.add_(1)
        self.register_buffer("degrees", (self.mask[:, None] >= torch.arange(4)).float())

    def forward(self, x):
        return (x @ self.kernel) * self.mask + self.plain @ self.degrees


class Head(nn.Module):
    """A grid for each map, made anew where the map's size has changed, as YOLOv5 has it."""

    def __init__(self, maps=2):
        super().__init__()
        self.grid = [torch.empty(0) for _ in range(maps)]
        self.anchor_grid = [torch.empty(0) for _ in range(maps)]
        self.register_buffer("anchors", torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        self.stride = torch.tensor([4.0, 8.0])
        self.m = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(maps))

    def forward(self, x):
        out = []
        for i in range(len(self.m)):
            x[i] = self.m[i](x[i])
            ny, nx = x[i].shape[2:]
            if self.grid[i].shape[2:4] != x[i].shape[2:4]:
                self.grid[i], self.anchor_grid[i] = self._make_grid(nx, ny, i)
            xy = (x[i].sigmoid() + self.grid[i]) * self.stride[i]
            out.append((xy * self.anchor_grid[i]).flatten(1))
        return torch.cat(out, 1)

    def _make_grid(self, nx, ny, i):
        y, x = torch.arange(ny).float(), torch.arange(nx).float()
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")).sum(0).expand(1, 1, ny, nx)
        return grid, self.anchors[i].sum().view(1, 1, 1, 1).expand(1, 1, ny, nx)


class Graph(nn.Module):
    """Layers that say where their inputs come from, in marks that were put on them."""

    def __init__(self):
        super().__init__()
        layers = []
        for n, source in enumerate((-1, -1, [-1, 0])):
            layer = nn.Conv2d(3, 3, 1) if n < 2 else Head()
            layer.i, layer.f = n, source
            layers.append(layer)
        self.model = nn.Sequential(*layers)
        self.model[-1].last = True

    def forward(self, x):
        kept = []
        for m in self.model:
            if m.f != -1:
                x = [x if j == -1 else kept[j] for j in m.f]
            x = m(x)
            kept.append(x)
        return x


class Layer(nn.TransformerEncoderLayer):
    """A layer of torch's the blocks of which are put together in another way."""

    def forward(self, x):
        x = x + 0.5 * self._sa_block(self.norm1(x), None, None)
        return x + 0.5 * self._ff_block(self.norm2(x))


class Back(nn.TransformerDecoderLayer):
    def forward(self, x, memory):
        x = x + self._mha_block(self.norm1(x), memory, None, None)
        return x + self._ff_block(self._sa_block(x, None, None))


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = Layer(4, 2, 8, batch_first=True, norm_first=True)
        self.back = Back(4, 2, 8, batch_first=True)

    def forward(self, x):
        x = x[None]
        return self.back(self.layer(x), x)


def add_shortcut(x, shortcut, all_rows):
    if all_rows:
        x.add_(shortcut)
    else:
        x[1:] += shortcut[1:]
    return x


class Shortcut(nn.Module):
    """A function that writes into its argument and gives it back, called for the first alone."""

    def forward(self, x):
        q = x * 2
        x = x * x.mean()
        if q.ndim == 2:
            add_shortcut(x, q, False)
        x[:, :2] = q[:, :2]
        x[:, 2] *= q[:, 2]
        return x.flip(1) + add_shortcut(x * 1, q, True)
