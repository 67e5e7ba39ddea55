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
