"""Ways of published libraries of models, a small model for each."""

from __future__ import annotations

from collections import namedtuple
from functools import partial

import einops
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

Kernels = namedtuple("KernelConfig", ["enable_math", "enable_flash"])
KERNELS = Kernels(True, enable_flash=False)


def imported(name):
    return getattr(einops, name)


rearrange = imported("rearrange")


def always(value):
    return lambda *args, **kwargs: value


def scaled(by, act=torch.sin):
    def inner(x):
        # a function inside another one
        return act(x) * by

    return inner


class Constantly:
    def __init__(self, value):
        self.value = value
        self.unused = object()

    def __call__(self, *args):
        return self.value


class Functions(nn.Module):
    """Lambdas, functions made in others, and an object that is called, as attributes."""

    def __init__(self, width=3):
        super().__init__()
        self.same, self.double = lambda x: x, lambda x: 2 * torch.tanh(x)
        self.head, self.tail = always(None), always((width, 1.5))
        self.first, self.second = scaled(2), scaled(3, torch.cos)
        self.four = Constantly(4)
        self.picked = (
            lambda x: x.sum(
                dim=-1
            )
        )  # fmt: skip

    def forward(self, x):
        assert self.head(x) is None
        y = self.same(x) * self.tail()[1] + self.double(x) + self.four(x)
        return self.first(y) + self.second(y), self.picked(x)


class Block(nn.Module):
    def __init__(self, width, out, none=False):
        super().__init__()
        self.fc = nn.Linear(width, out)
        if width != out:
            self.skip = nn.Linear(width, out)
        self.act = None if none else nn.Tanh()

    def forward(self, x):
        y = self.fc(x)
        if hasattr(self, "skip"):
            x = self.skip(x)
        return x + (y if self.act is None else self.act(y))


class Asks(nn.Module):
    """Parts that some of a class have, and are asked for with hasattr."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(3, 3), Block(3, 4), Block(4, 4, none=True))

    def forward(self, x):
        return self.blocks(x)


class Gaps(nn.Module):
    """A list of modules with None in it, and a list of lists of parameters."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([None, nn.Linear(3, 3), None])
        weights = [nn.ParameterList([nn.Parameter(torch.ones(n))]) for n in (1, 3)]
        self.scales = nn.ParameterList(weights)

    def forward(self, x):
        for n, part in enumerate(self.parts):
            x = x + n if part is None else part(x)
        for (scale,) in self.scales:
            x = x * scale
        assert self.parts[-1] is None and len(self.parts) == 3
        return x


class Walks(nn.Sequential):
    """A container that goes through what torch keeps its parts in."""

    def __init__(self):
        super().__init__(nn.Linear(3, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 3)))
        self.last = len(self._modules) - 1

    def forward(self, x):
        for n, (name, part) in enumerate(self._modules.items()):
            x = part(x) + int(name) if n < self.last else x
        for part in self[1]._modules.values():
            x = part(x)
        inner = self[1]
        for part in inner.children():
            x = part(x) if torch.cuda.is_available() else x - part(x)
        for name, part in self[1].named_children():
            x = part(x) * (1 + int(name))
        if torch.cuda.is_available():
            x = x.cuda()
        if self.training and torch.distributed.is_initialized():
            torch.distributed.all_reduce(x)
        linear = [part for part in self.modules() if isinstance(part, nn.Linear)]
        return x * len(linear)


class Unit(nn.Module):
    def forward(self, weight):
        return weight / weight.norm(dim=-1, keepdim=True)


class Parametrized(nn.Module):
    """Weights that are computed from others."""

    def __init__(self):
        super().__init__()
        self.fc = parametrize.register_parametrization(nn.Linear(3, 4), "weight", Unit())
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 2, 1), dim=1)
        self.out = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 2), n_power_iterations=2)

    def forward(self, x):
        return self.out(self.conv(self.fc(x).mT)) + self.fc.weight.sum()


class Sizes(nn.Module):
    """Copies of a list, a named tuple, a context of kernels, pieces by index, a type asked for."""

    def __init__(self, window=(2, 3), kernels=KERNELS):
        super().__init__()
        self.window, self.kernels = list(window), kernels

    def forward(
        self,
        x: torch.Tensor,
        sizes: list[int] | Kernels | None = None,  # fmt: skip
    ):
        window = self.window.copy()
        window[0] += 1
        with torch.backends.cuda.sdp_kernel(**self.kernels._asdict()):
            x = nn.functional.scaled_dot_product_attention(x, x, x)
        with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH]):
            x = x * window[0] if torch.jit.isinstance(x, torch.Tensor) else x
        first, rest = torch.tensor_split(x, indices=(1,), dim=1)
        left, *_ = x.tensor_split([1, 2], dim=-1)
        return rearrange(rest, "b n d -> b (n d)") + first.sum() + left.sum()


class Flat(nn.Module):
    def forward(self, x):
        return x.flatten()


class Doubles(torch.autograd.Function):
    """Of which PyTorch takes no gradient: what is kept for it has changed."""

    @staticmethod
    def forward(ctx, x):
        y = x * 2
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * 2 + 0 * y


class Changed(nn.Module):
    def forward(self, x):
        y = Doubles.apply(x)
        z = y.sin()
        y.mul_(3)
        return y + z


class Numbered(nn.Module):
    """Parts whose names can be no argument's, which one object has and another has not."""

    def __init__(self, count, parts=2):
        super().__init__()
        self.parts = parts
        for n in range(count):
            self.add_module(str(n), nn.Linear(3, 3))
        self.add_module("class", nn.Linear(3, 3)) if count > 1 else None

    def forward(self, x):
        return sum(part(x) for part in self.children()) + self.parts


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Numbered(2), Numbered(0)
        self.add_module("3", nn.Tanh())

    def forward(self, x):
        return getattr(self, "3")(self.first(x) + self.second(x))


class Kept(nn.Module):
    """A context of kernels kept as an attribute, trees of tensors, a type of another file."""

    def __init__(self):
        super().__init__()
        kinds = [torch.nn.attention.SDPBackend.MATH]
        self.kernels = partial(torch.nn.attention.sdpa_kernel, kinds)

    def forward(self, x, cache: Elsewhere | None = None):  # noqa: F821
        with self.kernels():
            x = nn.functional.scaled_dot_product_attention(x, x, x)
        leaves, form = tree_flatten({"x": x, "none": None, "y": [x * 2]})
        tree = tree_unflatten([leaf if leaf is None else leaf + 1 for leaf in leaves], form)
        tree = tree_map(lambda leaf: 3 if leaf is None else leaf.sum(), tree)
        return tree["x"] + tree["none"] + tree["y"][0], torch.histc(x, bins=4, max=2.0)


class Branches(nn.ModuleList):
    """A list whose parts have names."""

    def __init__(self, scale=2):
        super().__init__()
        self.scale = scale
        self.add_module("up", nn.Linear(3, 4))
        self.add_module("down", nn.Linear(4, 3))

    def forward(self, x):
        for part in self:
            x = part(x)
        return x * self.scale + self.down(self.up(x)) + len(self)


class Branched(nn.Module):
    def __init__(self):
        super().__init__()
        self.branches = Branches()

    def forward(self, x):
        return self.branches(x)
