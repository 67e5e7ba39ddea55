"""Functions that parts hold, settings that somebody changes, and flags; written in plain torch."""

import random
from collections import OrderedDict
from functools import partial

import numpy as np
import torch
from einops import reduce
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.utils import _pair


class Config:
    """Its attributes come later: minGPT's."""

    def __init__(self, **given):
        self.__dict__.update(given)


def default_config():
    config = Config(width=3)
    config.depth = None
    config.block = Config()
    config.block.name = "mlp"
    return config


class Mlp(nn.Module):
    """A lambda over a part, and a count of weights that is printed."""

    def __init__(self, config):
        super().__init__()
        assert config.depth == 2 and config.block.name == "mlp"
        self.ln = nn.LayerNorm(config.width)
        self.mlp = nn.ModuleDict(
            {"up": nn.Linear(config.width, 5), "act": nn.Tanh(), "down": nn.Linear(5, config.width)}
        )
        m = self.mlp
        self.mlpf = lambda x: m.down(m.act(m.up(x)))
        count = sum(p.numel() for p in self.mlp.parameters())
        print(f"weights: {count}")

    def forward(self, x):
        return x + self.mlpf(self.ln(x))


def mlp():
    config = default_config()
    config.depth = 2
    return Mlp(config)


class Fused(nn.Module):
    """A method that is chosen when it is made, of one class in two ways."""

    def __init__(self, sums, scale=None):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.fusion = self.add if sums else self.mix
        self.more = self.add if scale else None

    def add(self, x, y):
        return self.fc(x) + y

    def mix(self, x, y):
        return self.fc(x) * y

    def forward(self, x):
        x = self.fusion(x, x + 1)
        if self.more is not None:
            x = self.more(x, x)
        return x


class TwoFused(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Fused(True), Fused(False, 2.0)

    def forward(self, x):
        return self.b(self.a(x))


class ActNorm(nn.Module):
    """Glow's: its first call gives the weights their values."""

    def __init__(self, width):
        super().__init__()
        self.loc, self.scale = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.ones(width))
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))

    def initialize(self, x):
        with torch.no_grad():
            self.loc.data.copy_(-x.mean(0))
            self.scale.data.copy_(1 / (x.std(0) + 1e-6))

    def forward(self, x):
        if self.initialized.item() == 0:
            self.initialize(x)
            self.initialized.fill_(1)
        return self.scale * (x + self.loc)


class Codebook(nn.Module):
    """EnCodec's: a method that returns where there is nothing to do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("inited", torch.Tensor([False]))
        self.register_buffer("embed", torch.zeros(4, 3))

    def init_embed(self, x):
        if self.inited:
            return
        self.embed.data.copy_(x[:4])
        self.inited.data.copy_(torch.Tensor([True]))

    def forward(self, x):
        self.init_embed(x)
        if self.training and not self.inited:
            return x
        return x @ self.embed.T


class Prepared(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.book = ActNorm(3), Codebook()

    def forward(self, x):
        return self.book(self.norm(x))


class Counting(nn.Module):
    """A buffer that decides, and that each call changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        if self.calls[0] > 1000:
            x = x * 2
        self.calls += 1
        return x


class Padded(nn.Module):
    """DETR's batches: rows of a tensor that a loop writes into."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images):
        sizes = [max(image.shape[n] for image in images) for n in (1, 2)]
        batch = torch.zeros((len(images), 3, *sizes))
        mask = torch.ones((len(images), *sizes), dtype=torch.bool)
        for image, padded, m in zip(images, batch, mask):
            padded[: image.shape[0], : image.shape[1], : image.shape[2]].copy_(image)
            m[: image.shape[1], : image.shape[2]] = False
        return self.conv(batch) * ~mask[:, None]


class Rows(nn.Module):
    """Rows that are read again, counted, and changed as a whole."""

    def forward(self, x):
        y, total = x * 2, 0
        for row in y:
            row += 1
            total = total + row.sum()
        for n, row in enumerate(y):
            row[0] = row[1] * n
        for row, z in zip(y, x):
            row *= z
        return y, total


class RowsOfRows(nn.Module):
    def forward(self, x):
        y = x * 2
        for row in y:
            for cell in row:
                cell.mul_(2)
        return y


class KeyedParts(nn.Module):
    """monodepth2's decoders: a dict with other keys than text, beside a list that registers."""

    def __init__(self):
        super().__init__()
        self.convs = OrderedDict()
        self.convs[0] = nn.Linear(3, 4)
        for n in range(2):
            self.convs[("up", n)] = nn.Linear(4, 4)
        self.decoder = nn.ModuleList(list(self.convs.values()))

    def forward(self, x):
        x = self.convs[0](x)
        for n in range(2):
            x = self.convs["up", n](x)
        return x


class Shared(nn.Module):
    """RAFT's residual block: a layer under two names, where there is one."""

    def __init__(self, stride):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, stride, 1)
        if stride == 1:
            self.down = None
        else:
            self.norm = nn.BatchNorm2d(3)
            self.down = nn.Sequential(nn.Conv2d(3, 3, 1, stride), self.norm)

    def forward(self, x):
        y = self.conv(x).relu()
        return y + (x if self.down is None else self.down(x))


class SomeShared(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(Shared(1), Shared(2))

    def forward(self, x):
        return self.layers(x)


class Noisy(nn.Module):
    """Rainbow's layer: a constructor that draws into buffers."""

    def __init__(self, widths):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(widths[1], widths[0]))
        self.register_buffer("noise", torch.empty(*widths.tolist()).T)
        self.reset_noise()

    def scaled(self, size):
        x = torch.randn(size)
        return x.sign().mul_(x.abs().sqrt_())

    def reset_noise(self):
        a, b = self.scaled(self.mean.shape[1]), self.scaled(self.mean.shape[0])
        self.noise.copy_(b.outer(a))

    def forward(self, x):
        x.requires_grad_(True)
        return x @ (self.mean + self.noise).T


def noisy():
    return Noisy(np.array([3, 2]))


class Fourier(nn.Module):
    """An axis that the class names, complex weights, and a list given to `*tensors`."""

    axis = 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 2, dtype=torch.cfloat) / 3)
        self.bag = nn.EmbeddingBag(5, 3, sparse=True)

    def grid(self, *tensors):
        return torch.meshgrid(*tensors, indexing="ij")

    def forward(self, x, ids):
        y, x = self.grid([torch.arange(x.shape[0]) + 0.0, x[0]])
        mixed = torch.squeeze(self.weight[:, :1] * x[:3, :1], 1)
        mixed += 1
        spread = torch.zeros(x.shape[0], 5).scatter_add_(self.axis, ids, x[:, : ids.shape[1]])
        return mixed.abs().sum() + torch.cat((y, spread), 1) + self.bag(ids).sum()


MODELS = {}


def register(name):
    def decorator(made):
        MODELS[name] = made
        return made

    return decorator


@register("block")
class Block(nn.Module):
    """MPRNet's: a PReLU that many share."""

    def __init__(self, width, act):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), act, nn.Linear(width, width))

    def forward(self, x):
        return x + self.body(x)


@register("encoder")
class Encoder(nn.Module):
    def __init__(self, **given):
        super().__init__()
        self.levels = nn.ModuleList(
            [nn.Sequential(Block(**given), Block(**given)) for _ in range(2)]
        )

    def forward(self, x):
        return self.levels[1](self.levels[0](x))


@register("decoder")
class Decoder(nn.Module):
    """Nobody asks for it."""


class FromSettings(nn.Module):
    """LIIF's: parts by name, out of a dict that decorators fill."""

    def __init__(self, spec):
        super().__init__()
        act = nn.PReLU()
        self.first = nn.Sequential(nn.Linear(3, 3), Block(3, act))
        self.second = MODELS[spec["name"]](act=act, **spec["args"])
        for name in self.state_dict():
            if name.endswith("bias"):
                self.state_dict()[name][...] = 0

    def forward(self, x):
        return self.second(self.first(x))


def from_settings():
    return FromSettings({"name": "encoder", "args": {"width": 3}})


def persistent(original):
    """NVIDIA's: the class becomes one that keeps what its constructor is given."""

    class Kept(original):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._init_args, self._init_kwargs = args, dict(kwargs)

        def __reduce__(self):
            raise NotImplementedError

    Kept.__name__, Kept.__module__ = original.__name__, original.__module__
    return Kept


@persistent
class Persistent(nn.Module):
    def __init__(self, width, more=2):
        super().__init__()
        self.fc = nn.Linear(3, width)
        self.inner = Persistent(3, more=0) if more else nn.Identity()

    def forward(self, x, scale=1.0):
        inner = self.inner
        x = inner(x, 2.0) if isinstance(inner, Persistent) else inner(x)
        return self.fc(x * scale).relu()


@torch.jit.script
def sampled(mean, scale):
    return mean + scale * torch.empty_like(mean).normal_(0.0, 1.0)


def averaged(mean, new, decay):
    mean.data.mul_(decay).add_(new, alpha=1 - decay)
    return mean.sum()


class Averages(nn.Module):
    """Buffers under other names: in a loop, of an attribute, and as an argument."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        for n in range(2):
            self.register_buffer(f"mean{n}", torch.zeros(4))
        self.register_buffer("whole", torch.zeros(4))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        y = self.fc(x)
        calls = self.calls
        calls += 1
        for n in range(2):
            mean = getattr(self, f"mean{n}")
            if self.training: mean.copy_(0.9 * mean + y.mean(0).detach() / (n + 2))  # fmt: skip # noqa: E701
            y = y - mean
        if self.training:
            y = y + averaged(self.whole, y.mean(0).detach(), 0.5)
        return y + calls


class ListedBuffers(nn.Module):
    """BigGAN's: a property that makes a list of buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("u0", torch.ones(1))

    @property
    def u(self):
        return [self.u0]

    def forward(self, x):
        if self.training:
            self.u[0][:] = x.detach().max()
        return x * 2


class GivenAway(nn.Module):
    """A list of buffers that a function is given and writes into."""

    def __init__(self):
        super().__init__()
        self.register_buffer("u0", torch.ones(4))

    @property
    def first(self):
        return self.u0

    def forward(self, x):
        return x + averaged(self.first, x.detach().mean(0), 0.5)


class Marked(nn.Module):
    """What libraries put on weights, count, seed, and keep without reading it."""

    def __init__(self, width):
        super().__init__()
        torch.manual_seed(3)
        self.width = _pair(width)
        self.fc = nn.Linear(3, self.width[1])
        self.fc.bias._no_reinit = True
        setattr(getattr(self.fc, "weight"), "_optim", {"lr": 0.1})  # noqa: B009, B010
        self.binomial = torch.distributions.binomial.Binomial(probs=0.5)
        self.table = nn.Embedding(5, 3, max_norm=1.0)
        self.count()

    def count(self):
        self.weights = 0
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.orthogonal_(module.weight)
                self.weights += sum([p.data.nelement() for p in module.parameters()])

    def forward(self, ids):
        x = self.fc(self.table(ids))
        a, b = torch.zeros_like(x), torch.zeros_like(x)
        a[:, :2], b[:, 2:] = x[:, 2:] * 2, x[:, :2] + 1
        return torch.mean(a, dim=-1, out=None), sampled(b, a)


def marked():
    return Marked(4)


class Merging(nn.Module):
    """loralib's: `train` decides what forward does."""

    def __init__(self):
        super().__init__()
        self.fc, self.low = nn.Linear(3, 3), nn.Parameter(torch.ones(3, 3))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode and self.merged:
            self.fc.weight.data -= self.low
        if not mode and not self.merged:
            self.fc.weight.data += self.low
        self.merged = not mode
        return self

    def forward(self, x):
        return self.fc(x) if self.merged else self.fc(x) + x @ self.low.T


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.fc.weight.register_hook(lambda grad: grad * 0)

    def forward(self, x):
        return self.fc(x)


class OneMemory(nn.Module):
    """Two parameters, and torch changes both at once; and two halves of one array."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Embedding(5, 3), nn.Linear(5, 3, bias=False)
        self.b.weight.data = self.a.weight.data.T
        both = torch.ones(6)
        self.c, self.d = nn.Parameter(both[:3]), nn.Parameter(both[3:])

    def forward(self, ids):
        return self.b.weight @ self.a.weight + self.a(ids).sum(0) * self.c + self.d


class PartInEvaluation(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.norm.eval()

    def forward(self, x):
        return self.norm(x)


class Skipping(nn.Module):
    """LayerDrop: a drawn number decides what runs, in training alone."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(2)])

    def forward(self, x):
        for layer in self.layers:
            if self.training and torch.rand(1).item() < 0.2:
                continue
            x = torch.relu(layer(x))
        return x


class Shifted(nn.Module):
    """DrQ's: whole numbers as floats; and copies, which have no gradient."""

    def forward(self, x):
        shift = torch.randint(0, 5, (x.shape[0], 1), dtype=x.dtype)
        y = x * 2
        return y + shift + y.new_tensor(y) + torch.tensor([y.sum(), y.mean()]).sum()


class FrozenStatistics(nn.Module):
    """MAML's: statistics that are parameters."""

    def __init__(self):
        super().__init__()
        values = (torch.zeros(3), torch.ones(3))
        self.fc = nn.Linear(3, 3)
        self.kept = nn.ParameterList([nn.Parameter(v, requires_grad=False) for v in values])

    def forward(self, x):
        mean, var = self.kept[0], self.kept[1]
        return nn.functional.batch_norm(self.fc(x), mean, var, training=self.training)


def fill(m):
    if m.__class__.__name__.find("Conv") != -1:
        nn.init.kaiming_normal_(m.weight.data, a=0, mode="fan_in")


def first_values(net, how="normal"):
    """pix2pix's."""
    if how == "kaiming":
        net.apply(fill)
    else:
        raise NotImplementedError(f"initialization method [{how}] is not implemented")


def layer(width, out):
    return nn.Sequential(nn.Conv2d(width, out, 1), nn.ReLU())


def is_empty(x):
    return x.nelement() == 0


def averages(start, values, index, dim, eps=1e-5):
    """torch_scatter's stand-in."""
    total = start.scatter_add(dim, index, values)
    return total / (start.scatter_add(dim, index, torch.ones_like(values)) + eps)


class Refined(nn.Module):
    """MiDaS' units: sums that a quantised model would observe, and a hook."""

    def __init__(self, width, layer=layer):
        super().__init__()
        self.layer = layer(width, width)
        self.skip = nn.quantized.FloatFunctional()
        for m in self.children():
            first_values(m, how="kaiming")
        self.layer.register_forward_hook(self.keep)

    def keep(self, module, inputs, output):
        self.kept = output

    def forward(self, x, index):
        x = self.skip.add(self.layer(x), x)
        x = self.skip.cat([self.skip.mul_scalar(x, 2.0), x], dim=1)
        if not is_empty(x):
            x = x + 1
        return averages(torch.zeros(x.shape[0], 7, 5), x[:, :, 0], index.expand(2, 6, 5), -2)


def refined():
    return Refined(3)


class Projected(nn.Module):
    """Linformer's: operands by a star."""

    def __init__(self):
        super().__init__()
        self.proj = nn.Parameter(torch.randn(6, 3))

    def forward(self, x, y):
        project = lambda args: torch.einsum("bnd,nk->bkd", *args)  # noqa: E731
        keys, values = map(project, zip((x, y), (self.proj, self.proj)))
        return keys @ values.transpose(1, 2)


class Rescaled(nn.Module):
    """RealNVP's: weight norm of a class of one's own."""

    class Scale(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(width, 1))

        def forward(self, x):
            return self.weight * x

    def __init__(self):
        super().__init__()
        self.scale = nn.utils.weight_norm(Rescaled.Scale(3))

    def forward(self, x):
        return self.scale(x)


class Equalized:
    """Scales a weight before each call: progressive GANs' equalized learning rate."""

    @staticmethod
    def apply(module):
        weight = module.weight
        del module._parameters["weight"]
        module.register_parameter("weight_orig", nn.Parameter(weight.data))
        module.register_forward_pre_hook(Equalized())
        return module

    def __call__(self, module, given):
        module.weight = module.weight_orig * (2 / module.weight_orig[0].numel()) ** 0.5


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Equalized.apply(nn.Conv2d(3, 4, 3))

    def forward(self, x):
        return self.conv(x)


class AnyNorm(_BatchNorm):
    def __init__(self, size, momentum=0.2):
        super().__init__(size, 1e-4, momentum, True, True)

    def _check_input_dim(self, input):
        if input.dim() != 3:
            raise ValueError("expected [N, C, L]")


class AnyNormed(nn.Module):
    """A class on what torch's batch norms have in common."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(3, 4, 3), AnyNorm(4)

    def forward(self, x):
        return self.norm(self.conv(x))


class Causal(nn.Module):
    """A mask by the class's own function; one layer three times, as torch shares it."""

    def __init__(self, size=8, count=3):
        super().__init__()
        layer = nn.TransformerEncoderLayer(size, 2, 16, dropout=0.0, batch_first=True)
        self.layers = nn.ModuleList([layer] * count)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1), device=x.device)
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        return x


class Standardized(nn.Conv2d):
    """Weights standardised by einops, to which torch's variance is given."""

    def forward(self, x):
        mean = reduce(self.weight, "o ... -> o 1 1 1", "mean")
        var = reduce(self.weight, "o ... -> o 1 1 1", partial(torch.var, unbiased=False))
        spread = reduce(x, "b c h w -> b 1 1 1", partial(torch.std, correction=2))
        weight = (self.weight - mean) * (var + 1e-5).rsqrt()
        return self._conv_forward(x / spread, weight, self.bias)


class Averaged(nn.Module):
    """A codebook that forward makes anew: an average that is no buffer."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(4, 3)

    def forward(self, x):
        nearest = torch.cdist(x, self.table.weight).argmin(1)
        if self.training:
            mean = x.mean(0)
            self.table.weight = nn.Parameter(self.table.weight * 0.9 + mean * 0.1)
        return self.table(nearest)


class Coupling(nn.Module):
    def __init__(self, size, mask):
        super().__init__()
        self.register_buffer("mask", mask)
        self.fc = nn.Linear(size, size)

    def forward(self, x):
        return x * self.mask + (1 - self.mask) * (x + self.fc(x * self.mask))


def coupled():
    """Constructors that are given tensors: the masks of a flow."""
    mask = (torch.arange(4) % 2).float()
    return nn.Sequential(Coupling(4, mask), Coupling(4, 1 - mask), Coupling(4, mask.long()))


class Rotary(nn.Module):
    """Tables made by a method that forward calls, too, of a buffer made before: LLaMA's."""

    def __init__(self, size, longest=8):
        super().__init__()
        inv_freq = 1.0 / (10000 ** (torch.arange(0, size, 2).float() / size))
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self._set_cache(longest, self.inv_freq.device, torch.get_default_dtype())

    def _set_cache(self, length, device, dtype):
        self.longest = length
        t = torch.arange(length, device=device, dtype=self.inv_freq.dtype)
        table = torch.cat(2 * (torch.outer(t, self.inv_freq),), dim=-1)
        self.register_buffer("cos_cached", table.cos().to(dtype), persistent=False)
        self.register_buffer("sin_cached", table.sin().to(dtype), persistent=False)

    def forward(self, x):
        if x.shape[1] > self.longest:
            self._set_cache(x.shape[1], x.device, x.dtype)
        half = torch.cat([-x[..., 2:], x[..., :2]], dim=-1)
        cos, sin = self.cos_cached[: x.shape[1]], self.sin_cached[: x.shape[1]]
        return x * cos.to(x.dtype) + half * sin.to(x.dtype)


def turned():
    return nn.Sequential(nn.Linear(4, 4), Rotary(4))


class Focal(nn.Module):
    """Types as strings, as in PyTorch 0.3."""

    def __init__(self, gamma=2, alpha=(0.2, 0.3, 0.5)):
        super().__init__()
        self.gamma = gamma
        self.alpha = torch.Tensor(alpha)

    def forward(self, x, target):
        log = torch.log_softmax(x, 1).gather(1, target.view(-1, 1)).view(-1)
        if self.alpha.type() != x.data.type():
            self.alpha = self.alpha.type_as(x.data)
        scale = 2.0 if target.type() == "torch.LongTensor" else 1.0
        return -(self.alpha.gather(0, target) * (1 - log.exp()) ** self.gamma * log).mean() * scale


class Forces(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 1)

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = torch.tanh(self.fc(x)).sum()
            return torch.autograd.grad(energy, x)[0]


class Skips(nn.Module):
    """Chance that did not come about while it was seen: stochastic depth of a small rate."""

    def __init__(self, rate=1e-9):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.rate = rate

    def forward(self, x):
        for layer in self.layers:
            if self.training and random.random() < self.rate:
                continue
            x = x + layer(x)
        return x
