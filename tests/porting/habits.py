"""Models of research code whose parts are torch's, or another library's, in ways of their own."""

import logging
import math
from abc import ABC, abstractmethod
from functools import partial

import numpy as np
import torch
from einops.layers.torch import EinMix, Rearrange, Reduce
from torch import nn
from torch.nn import functional as F


class Bare(nn.Module):
    """`nn.Module()` by itself as a container, as diffusion models have it."""

    def __init__(self):
        super().__init__()
        self.mid = nn.Module()
        self.mid.block_1 = nn.Linear(3, 4)
        self.mid.attn = nn.ModuleList()
        self.down = nn.ModuleList()
        for _ in range(2):
            down = nn.Module()
            down.block = nn.ModuleList([nn.Linear(4, 4)])
            self.down.append(down)

    def forward(self, x):
        x = self.mid.block_1(x)
        for i in range(2):
            x = self.down[i].block[0](x)
            if len(self.mid.attn) > 0:
                x = self.mid.attn[0](x)
        return x


class BareWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.mid = nn.Module()
        self.mid.scale, shape = nn.Parameter(torch.ones(3)), [1, 3]
        self.mid.fc, self.mid.power = nn.Identity(), 2
        self.mid.register_buffer(f"noise_{0}", torch.randn(*shape))

    def forward(self, x):
        return self.mid.fc(x) * self.mid.scale**self.mid.power + getattr(self.mid, f"noise_{0}")


class Patches(nn.Module):
    """Layers of einops."""

    def __init__(self, patch=2):
        super().__init__()
        self.embed = nn.Sequential(
            Rearrange("b c (h p) (w q) -> b (h w) (p q c)", p=patch, q=patch),
            nn.Linear(3 * patch * patch, 5),
        )
        self.head = nn.Sequential(Reduce("b n d -> b d", "mean"), nn.Linear(5, 2))

    def forward(self, x):
        return self.head(self.embed(x))


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = EinMix("b n -> b m", weight_shape="n m", n=3, m=2)

    def forward(self, x):
        return self.mix(x)


class Reversal(torch.autograd.Function):
    """The gradient with the other sign."""

    @staticmethod
    def forward(ctx, x, alpha):
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.neg() * ctx.alpha, None


class Sign(torch.autograd.Function):
    """A straight-through estimator that is cut off."""

    @staticmethod
    def forward(ctx, x, axis):
        ctx.save_for_backward(x)
        return x.sign(), x.argmax(axis)

    @staticmethod
    def backward(ctx, grad_output, _):
        (x,) = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[x.ge(1)] = 0
        return grad_input, None


class Adversary(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.domain = nn.Linear(3, 4), nn.Linear(4, 2)
        self.reverse = Reversal.apply

    def forward(self, x, alpha):
        x = self.features(x)
        signs, best = Sign.apply(x, 1)
        return self.domain(self.reverse(x, alpha)) + signs[:, :2], best


class Noisy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * torch.rand_like(x)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output


class Draws(nn.Module):
    def forward(self, x):
        return F.relu(Noisy.apply(x))


class Looked(nn.Module):
    """Attributes that a forward assigns: for who looks on, and for itself."""

    def __init__(self):
        super().__init__()
        self.fc, self.drop = nn.Linear(3, 4), nn.Dropout(0.0)
        self.seen, self.norm = 0, nn.BatchNorm1d(3)
        self.weights = None

    def both(self, x):
        return x * 2, x + 1

    def map(self):
        return self.weights.mean(0)

    def forward(self, x):
        self.seen += 1
        shape = 1
        self.shape = x.shape
        y = self.fc(x)
        self.weights = y.detach().cpu()
        y, self.other = self.both(y)
        self.normed = self.norm(x)
        return y.view(self.shape[0], -1) * shape


class Ended(nn.Module):
    """What a constructor does besides runs in nobody's forward."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.factor = self.solved(torch.ones(1)).item()

    def solved(self, x):
        return torch.special.bessel_j0(x)

    def forward(self, x):
        return x * self.weight * self.factor


class Listed(nn.Module):
    """Modules in plain lists, registered by name besides, or without weights."""

    def __init__(self):
        super().__init__()
        self.heads = [nn.Linear(3, 2) for _ in range(2)]
        for n, head in enumerate(self.heads):
            self.add_module(f"head_{n}", head)
        self.acts = {"relu": nn.ReLU(), "tanh": nn.Tanh()}
        self.device = torch.device("cpu")

    def forward(self, x):
        y = torch.cat([head(x) for head in self.heads], 1).to(self.device)
        assert (y == y).all()
        if torch.isnan(y).any():
            raise ValueError("not a number")
        assert y.dim() == 2
        return self.acts["tanh"](y)


class Unlisted(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = [nn.Linear(3, 2)]

    def forward(self, x):
        return self.heads[0](x)


class Decided(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            x = x * 2
        return x


class Masked(nn.Module):
    def forward(self, x):
        return x[x > 0].sum()


class Aliased(nn.Module):
    """The sum is of what the layer in place has made of its input."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 3), nn.ReLU(inplace=True))

    def forward(self, x):
        x = x * 2
        return x + self.block(x)


class Averaged(nn.Module):
    """A buffer that training writes through its data."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        if self.training:
            self.mean.data.copy_(0.9 * self.mean + 0.1 * x.mean(0))
        return x - self.mean


class Partial(nn.Module):
    """Functions of torch that are held, some of their arguments given."""

    def __init__(self):
        super().__init__()
        self.join, self.stack = partial(torch.cat, dim=1), torch.stack

    def forward(self, x):
        return self.join([x, x * 2]), self.stack([x, x])


class Head(nn.Module):
    """BERT's: the decoder's bias is the head's."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.decoder = nn.Linear(3, 5, bias=False)
        self.bias = nn.Parameter(torch.ones(5))
        self.decoder.bias = self.bias
        self.decoder.weight = self.embed.weight

    def forward(self, x):
        return self.decoder(self.embed(x))


class Table(nn.Module):
    """A tensor that torch does not register."""

    def __init__(self):
        super().__init__()
        self.angles = torch.arange(3).float() / 3

    def forward(self, x):
        return x * self.angles.to(x.device)


class Abstract(nn.Module, ABC):
    """A base class that cannot be made, and the arguments of a program."""

    def __init__(self, args):
        super().__init__()
        self.args = args
        self.fc = nn.Linear(3, args.width)

    @abstractmethod
    def act(self, x): ...

    def forward(self, x):
        return self.act(self.fc(x)) * self.args.scale


class Concrete(Abstract):
    def act(self, x):
        return x.tanh() if self.args.act == "tanh" else x


class Ordered(nn.Module):
    """Running extremes and their places, bins, pieces of given sizes, written slices, a SVD."""

    def forward(self, x):
        top, where = torch.cummax(x * 2, dim=1)
        low = torch.cummin(x, 0).values
        first, rest = x.split_with_sizes([1, 2], dim=1)
        bins = torch.bucketize(x, torch.tensor([-0.5, 0.5]), right=True)
        kept = torch.slice_scatter(x, rest, 1, 1).index_put((where[:, 0], bins[:, 0]), first[:, 0])
        u, s, v = torch.svd(x)
        low = low + u @ torch.diag(s) @ v.t()
        return top + low, where, bins, torch.atleast_1d(kept.select_scatter(first[:, 0], 1, 2))


class FromTheLast(nn.Module):
    """Axes counted from the last, tensors given by name, whole numbers divided."""

    def __init__(self):
        super().__init__()
        self.dim, self.by = -2, 3

    def forward(self, x, i):
        top, where = x.cummax(-1)
        low = torch.cummin(input=x, dim=self.dim).indices
        best = torch.topk(input=x, k=2, dim=-2).values.flatten(start_dim=-2)
        least = torch.scatter(input=x, dim=-1, index=i, src=torch.flatten(input=x, start_dim=1))
        total = torch.logcumsumexp(dim=-2, input=x * 2) + (x * 2).logcumsumexp(-1)
        kept = x.index_fill(-2, i[0], 0.5)
        # Whole numbers, or they would be no places.
        found = x[torch.div(i, self.by, rounding_mode="trunc")]
        return top + total + kept, where, low, best, least, found


class InPlace(nn.Module):
    """Writes to what it is called with."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        x.mul_(2)
        x += 1
        return self.fc(x)


class ComplexSound(nn.Module):
    def forward(self, x):
        return torch.istft(x, 16, window=torch.ones(16), onesided=False, return_complex=True)


class Scalar(nn.Module):
    def forward(self, x):
        return x.mean().squeeze(0)


class Audio(nn.Module):
    """A spectrum, something done to its magnitudes, and sound again."""

    def __init__(self):
        super().__init__()
        self.register_buffer("window", torch.hann_window(16))
        self.mix = nn.Linear(9, 9)

    def forward(self, x):
        spectrum = torch.stft(x, 16, 4, window=self.window, return_complex=True)
        louder = self.mix(spectrum.abs().transpose(1, 2)).transpose(1, 2).exp()
        sound = torch.polar(louder, spectrum.angle())
        y = torch.istft(sound, 16, 4, window=self.window, length=x.shape[-1])
        wide = x.stft(
            n_fft=16, hop_length=8, win_length=12, window=torch.hamming_window(12),
            normalized=True, onesided=False, return_complex=True,
        )  # fmt: skip
        back = torch.istft(wide, 16, 8, 12, torch.hamming_window(12), normalized=True,
                           onesided=False)  # fmt: skip
        plain = torch.stft(x, 16, window=torch.ones(16), center=False, return_complex=True)
        return y, torch.view_as_real(wide), back, plain.abs()


class Pairs(nn.Module):
    def forward(self, x):
        return torch.stft(x, 16, window=torch.ones(16), return_complex=False)


class Gathered(nn.Module):
    """What nodes receive along edges, as graph networks write it."""

    def forward(self, x, edges):
        near = x[edges[0]]
        index = edges[1].unsqueeze(1).expand_as(near)
        zeros = torch.zeros_like(x)
        mean = zeros.scatter_reduce(0, index, near, "mean", include_self=False)
        most = zeros.scatter_reduce(0, index, near, "amax", include_self=False)
        both = torch.scatter_reduce(x * 2, 0, edges[1].unsqueeze(1).expand_as(near), near, "mean")
        total = zeros.scatter_reduce_(0, index, near, reduce="sum")
        return mean, most, both, total


class Complex(nn.Module):
    """Adjoints of complex matrices, and what is made of their parts."""

    def forward(self, x):
        z = torch.complex(x, x.flip(0) * 2)
        u, s, v = torch.svd(z)
        back = u @ torch.diag(s).to(z.dtype) @ v.mH
        return back.real, (z.mH @ z).imag, v.abs()


class Moved(nn.Module):
    """Parts that are moved to a device where they are made, by name, and all together."""

    def __init__(self, device="cpu"):
        super().__init__()
        self.fc = nn.Linear(3, 4).to(device)
        self.rest = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).cpu().float()
        self.rest.to(device=device)
        last = nn.Linear(4, 2)
        self.last = last.to(torch.float32)
        if torch.cuda.is_available():
            self.cuda()
        self.share_memory()
        self = self.to(device)

    def forward(self, x):
        self.rest.to(x.device)
        return self.last(self.rest(self.fc.to(x.device)(x)))


class Halved(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4).to(torch.bfloat16)

    def forward(self, x):
        return self.fc(x.bfloat16())


class Twice(nn.Module):
    """One module under two names, in a list and in a part's own."""

    def __init__(self, n=2):
        super().__init__()
        self.bn = nn.BatchNorm1d(4)
        self.conv = nn.Sequential(nn.Linear(3, 4), self.bn, nn.ReLU())
        shared = nn.Linear(4, 4)
        self.steps = nn.ModuleList([nn.Sequential(shared, nn.Tanh()) for _ in range(n)])
        self.pair = Pair(4)

    def forward(self, x):
        x = self.bn(self.conv(x))
        for step in self.steps:
            x = step(x)
        return self.pair(x)


class Pair(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.first = nn.Linear(n, n)
        self.again = self.first

    def forward(self, x):
        return self.again(self.first(x))


class Wide(nn.Module):
    """float64 of NumPy's, parts by `__setattr__`, numbers that a constructor draws."""

    def __init__(self):
        super().__init__()
        self.register_buffer("sigmas", torch.tensor(np.exp(np.linspace(0, 1, 4))))
        for name in ("left", "right"):
            self.__setattr__(name, nn.Linear(3, 4))
        start = torch.linalg.qr(torch.randn(4, 4))[0]
        self.turn = nn.Parameter(start * torch.rand(4))

    def forward(self, x):
        both = [self.__getattr__(name)(x) for name in ("left", "right")]
        return sum(both) @ self.turn * self.sigmas.float()


class Created(nn.Module):
    """Tensors by the names of their classes, of data and of shapes."""

    def __init__(self):
        super().__init__()
        grid = np.arange(3.0)
        self.grid = nn.Parameter(torch.FloatTensor(grid))
        self.other = nn.Parameter(torch.Tensor((grid + 1) / 2))

    def forward(self, ids, x):
        places = torch.LongTensor(ids)
        seen = torch.BoolTensor(ids == 0)
        hidden = x.data.new(x.size(0), 3).zero_() + x.new([1, 2, 3])
        steps = torch.arange(0, 3, out=torch.LongTensor(3))
        grid = self.grid * self.other
        return (
            (x * grid + hidden) * places * seen + steps + torch.from_numpy(x.detach().cpu().numpy())
        )


class Stored(nn.Module):
    """Statistics under names of its own, of a return and of an assignment."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stored_mean", torch.zeros(3))
        self.register_buffer("stored_var", torch.ones(3))

    def forward(self, x):
        outputs = self.normed(x)
        out = F.batch_norm(x, self.stored_mean, self.stored_var, training=self.training)
        return (
            outputs
            + out * F.instance_norm(x)
            + 2 * F.batch_norm(x, self.stored_mean * 1, self.stored_var * 1)
        )

    def normed(self, x):
        return F.batch_norm(x, self.stored_mean, self.stored_var, None, None, self.training)


class Repeated(Stored):
    """MUNIT's: statistics of each image, which it drops."""

    def forward(self, x):
        b, c = x.size(0), x.size(1)
        running_mean, running_var = self.stored_mean.repeat(b), self.stored_var.repeat(b)
        rows = x.contiguous().view(1, b * c, -1)
        out = F.batch_norm(rows, running_mean, running_var, None, None, True, 0.1, 1e-5)
        return out.view(b, c, -1)


class Inside(Stored):
    def forward(self, x):
        return 2 * F.batch_norm(x, self.stored_mean, self.stored_var, None, None, self.training)


class dotdict(dict):  # noqa: N801
    def __getattr__(self, name):
        return self[name]


class Dotted(nn.Module):
    """Settings of which Python can make no copy."""

    def __init__(self, args):
        super().__init__()
        self.args = args
        self.fc = nn.Linear(3, args.width)

    def forward(self, x):
        return F.dropout(self.fc(x), self.args.drop, self.training)


logger = logging.getLogger(__name__)


class Standardised(nn.Conv2d):
    def forward(self, x):
        spread, mean = torch.std_mean(self.weight, dim=[1, 2, 3], keepdim=True)
        return self._conv_forward(x, (self.weight - mean) / (spread + 1e-5), self.bias)


class Settings:
    width = 4
    scale = 2.0


class Common(nn.Module):
    """What repositories have around their layers: a log, a profile, settings, a table of words."""

    def __init__(self, settings, init="normal"):
        super().__init__()
        self.settings, self.init = settings, init
        self.words = nn.Embedding.from_pretrained(torch.arange(12.0).view(4, 3), freeze=True)
        self.conv = Standardised(3, settings.width, 3, padding=1, padding_mode="circular")
        logger.info("made")

    def forward(self, x, ids):
        with torch.autograd.profiler.record_function("words"):
            words = self.words(ids).mean(1)
        if self.init == "normal":
            x = x * self.settings.scale
        return self.conv(x) + words.sum()


def fill_up_weights(up):
    """CenterNet's: bilinear, in a loop."""
    w = up.weight.data
    f = math.ceil(w.size(2) / 2)
    c = (2 * f - 1 - f % 2) / (2.0 * f)
    for i in range(w.size(2)):
        for j in range(w.size(3)):
            w[0, 0, i, j] = (1 - math.fabs(i / f - c)) * (1 - math.fabs(j / f - c))
    for k in range(1, w.size(0)):
        w[k, 0, :, :] = w[0, 0, :, :]


class Enlarged(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1, groups=3, bias=False)
        fill_up_weights(self.up)

    def forward(self, x):
        return self.up(x)


class Branch(nn.Module):
    """HRNet's: a list that it is given, keeps, and changes."""

    def __init__(self, sizes, grow=2):
        """Sizes are changed."""
        super().__init__()
        self.sizes = sizes
        rest = sizes
        rest[-1] = rest[-1] + 0
        self.layers = nn.ModuleList([self.layer(n, grow) for n in range(len(sizes))])

    def layer(self, n, grow):
        """One of them; the list has its outputs then."""
        made = nn.Linear(self.sizes[n], self.sizes[n] * grow)
        self.sizes[n] = self.sizes[n] * grow
        return made

    def forward(self, xs):
        return [layer(x) for layer, x in zip(self.layers, xs)]


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Branch([2, 3])
        self.second = Branch(self.first.sizes)

    def forward(self, x, y):
        return self.second(self.first([x, y]))


class Permuted(nn.Module):
    """Arrays of NumPy's and tensors that are held twice, none of which is a parameter."""

    def __init__(self):
        super().__init__()
        self.perm = np.array([2, 0, 1])
        self.back = np.argsort(self.perm)
        self.scale = torch.arange(3.0)
        self.again = self.scale
        self.both = [self.scale, self.again]
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        x = self.fc(x[:, self.perm]) * self.scale + self.again
        return x[:, self.back] * self.both[1]
