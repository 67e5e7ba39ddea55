"""What published repositories do that books do not."""

import logging

import torch
from scipy.fft import next_fast_len
from torch import nn

from tests.porting import research


class OldSwish(research.Swish):
    @staticmethod
    def backward(ctx, grad):
        x = ctx.saved_variables[0]
        gate = torch.sigmoid(x)
        return grad * (gate * (1 + x * (1 - gate)))


class SavedVariables(nn.Module):
    def forward(self, x):
        return OldSwish.apply(x)


class Reversed(torch.autograd.Function):
    """Of a reversible layer, whose `backward` fails where its state was not recorded."""

    @staticmethod
    def forward(ctx, x, state):
        ctx.state = state
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.state[0], None


class NoGradients(nn.Module):
    def forward(self, x):
        return Reversed.apply(x, None)


def without_the_top(x, alpha=0.5, largest=False):
    _, places = torch.topk(x, int(alpha * x.shape[-1]), dim=-1, largest=largest)
    return torch.ones_like(x).scatter_(-1, places, 0)


class Top(nn.Module):
    def __init__(self, largest=True):
        super().__init__()
        self.largest = largest

    def forward(self, x):
        values, _ = x.topk(2, 0, self.largest)
        return without_the_top(x, largest=self.largest) * x + values.sum()


class Bottom(Top):
    def __init__(self):
        super().__init__(largest=False)


def like(x):
    return {"device": x.device, "dtype": x.dtype}


class Spread(nn.Module):
    """Keywords in a dict."""

    def forward(self, x):
        b, _ = x.shape
        parts = [torch.zeros((b, 1), **like(x)), torch.full((b, 1), 3.0, **like(x))]
        parts.append(torch.arange(3, **like(x)).expand(b, 3))
        return torch.cat((x, *parts, torch.ones(b, 2, **like(x))), dim=1)


class Chained(nn.Module):
    """Parts put into a container where they are called."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, x):
        return nn.Sequential(*self.layers)(x) + nn.Sequential(nn.ReLU(), self.layers[0])(x)


class Scaled(nn.Module):
    """Weights of parts, written where a constructor is given them."""

    def __init__(self, fc, beta=0.5):
        super().__init__()
        self.fc = fc
        self.scale = nn.Parameter(torch.ones(3))
        with torch.no_grad():
            fc.weight *= beta
            self.fc.bias[0] += 1
            self.scale[0] = 3.0

    def forward(self, x):
        return self.fc(x) * self.scale


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Scaled(nn.Linear(4, 3))
        self.block.fc.weight.data[1:] *= 0.3

    def forward(self, x):
        return self.block(x)


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, query, key=None, value=None):
        return self.fc(query) * key + value


class AttendsByName(Attends):
    def forward(self, *, query, key, value):
        return super().forward(query, key, value)


class ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.attends = AttendsByName()

    def forward(self, x):
        return self.attends(query=x, key=x, value=x)


class Guesses(nn.Module):
    """A softmax without an axis, which torch guesses."""

    def __init__(self):
        super().__init__()
        self.probabilities = nn.Softmax()

    def forward(self, x):
        return self.probabilities(x) + nn.functional.softmax(x[None])[0]


class Gated(torch.autograd.Function):
    """Its context is set up apart."""

    @staticmethod
    def forward(x, scale):
        return x * torch.sigmoid(x) * scale

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.scale = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(x) * ctx.scale * 2, None


class Contexts(nn.Module):
    def forward(self, x):
        return Gated.apply(x, 3.0)


class Checkpoint(torch.autograd.Function):
    """As diffusion models' own have it."""

    @staticmethod
    def forward(ctx, function, count, *args):
        ctx.function = function
        ctx.inputs, ctx.params = list(args[:count]), list(args[count:])
        with torch.no_grad():
            outputs = ctx.function(*ctx.inputs)
        return outputs

    @staticmethod
    def backward(ctx, *grads):
        ctx.inputs = [x.detach().requires_grad_(True) for x in ctx.inputs]
        with torch.enable_grad():
            outputs = ctx.function(*[x.view_as(x) for x in ctx.inputs])
        found = torch.autograd.grad(outputs, ctx.inputs + ctx.params, grads, allow_unused=True)
        del ctx.inputs, ctx.params, outputs
        return (None, None) + found


def checkpoint(function, inputs, params, flag):
    if flag:
        return Checkpoint.apply(function, len(inputs), *inputs, *params)
    return function(*inputs)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return checkpoint(self._forward, (x,), self.parameters(), True)

    def _forward(self, x):
        return self.fc(x).tanh() + x


class Prompts(nn.Module):
    """Segment Anything's: an embedding for each kind of point."""

    def __init__(self):
        super().__init__()
        self.outside = nn.Embedding(1, 4)
        self.kinds = nn.ModuleList([nn.Embedding(1, 4) for _ in range(2)])

    def forward(self, x, labels):
        x = x * 2
        x[labels == -1] = 0.0
        x[labels == -1] += self.outside.weight
        x[labels == 0] += self.kinds[0].weight
        x[labels == 1] += self.kinds[1].weight
        return x


class Rows(nn.Module):
    def forward(self, x, chosen):
        rows = x[chosen] * 2
        x = x + 1
        x[chosen] += rows
        return x


class Warped(nn.Module):
    """A grid that is told to have no gradient, and axes taken away in place."""

    def forward(self, x):
        grid = torch.arange(4.0)
        grid.requires_grad = False
        moved = (x[:, None] + grid) * 2
        out = x.clone()
        out += moved.squeeze_(1)
        moved.unsqueeze_(0)
        moved.squeeze_(0)
        return out + moved


class Anew(nn.Module):
    """Weights that a constructor puts in the place of others."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.fc.weight = nn.Parameter((1 / 4) * torch.ones([3, 4]))
        self.layers = nn.ModuleList([nn.Linear(3, 3)])
        for layer in self.layers:
            layer.weight = nn.Parameter(torch.eye(3))

    def forward(self, x):
        return self.layers[0](self.fc(x))


class Head(nn.Module):
    """A detector's: it asks whether it is one of its own children."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        x = self.fc(x)
        return x * 2 if isinstance(self, Masks) else x


class Masks(Head):
    def __init__(self):
        super().__init__()
        self.detect = Head.forward
        self.more = nn.Linear(4, 4)

    def forward(self, x):
        return self.detect(self, x) + self.more(x)


globals()["LOG"] = logging.getLogger("published")


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        LOG.info("made")  # noqa: F821
        self.parts = nn.Sequential(nn.Linear(4, 4), Head())

    def forward(self, x):
        if x.is_cuda or x.is_xpu or not x.is_cpu:
            x = x * 3
        return self.parts(x)


@torch.no_grad()
def default_init_weights(module_list, scale=1):
    """BasicSR's: loops in loops."""
    if not isinstance(module_list, list):
        module_list = [module_list]
    for module in module_list:
        for m in module.modules():
            if isinstance(m, nn.Linear):
                nn.init.kaiming_normal_(m.weight)
                m.weight.data *= scale


def is_newer(version, than):
    now, than = (tuple(map(int, text.split("."))) for text in (version, than))
    return now >= than


class Restored(nn.Module):
    """Its constructor counts a parameter; a default is what a call gave when it was read."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.levels = nn.Parameter(torch.arange(0, 2, 0.5))
        self.factor = len(self.levels)
        default_init_weights([self.fc], 0.1)

    def grid(self, n, new=is_newer("2.13.0", "1.10.0")):  # noqa: B008
        return torch.arange(n) * (2 if new else 1)

    def forward(self, x):
        return (self.fc(x) + self.grid(4)) * self.levels * self.factor


class Sizes(nn.Module):
    def __init__(self, size, ch, out, scale=1.0):
        super().__init__()
        self.size, self.scale = size, scale
        self.fc = nn.Linear(ch, out)

    def forward(self, x):
        return self.fc(x) * self.scale


class Twice(Sizes):
    def __init__(self, size, ch, *args, **kwargs):
        super().__init__(size, ch * 2, *args, **kwargs)

    def forward(self, x):
        return super().forward(torch.cat([x, x], -1))


class HandsOn(nn.Module):
    def __init__(self):
        super().__init__()
        self.rest = Twice(8, 4, 4, scale=2.0)

    def forward(self, x):
        return self.rest(x)


class Mixture:
    def __init__(self, mean):
        self.mean = mean


class GivesAnObject(nn.Module):
    def forward(self, x):
        return Mixture(x * 2), x


class Grows(nn.Module):
    """Tensors joined to an empty one, and sizes in a list."""

    def forward(self, x):
        found = torch.tensor([])
        for i in range(3):
            found = torch.cat((found, x[:, i : i + 1] * i), 1)
        sizes = [-1] * 3
        sizes[1] = 5
        return found, torch.cat([torch.empty(0), x, x], dim=-1), x.unsqueeze(1).expand(*sizes)


class InPlace(nn.Module):
    """An input that is normalised in place: PyTorch takes no gradient to it."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = x - x.mean(1, keepdim=True).detach()
        deviation = torch.sqrt(torch.var(x, dim=1, keepdim=True, unbiased=False) + 1e-5)
        x /= deviation
        return self.fc(x) * deviation


class Masked(InPlace):
    """And what values decide, which compiled code does not know."""

    def forward(self, x):
        y = super().forward(x)
        return y * 2 if (y > 100).any() else y


class Fast(nn.Module):
    """SciPy's functions, of numbers."""

    def forward(self, x):
        return torch.fft.rfft(x, n=next_fast_len(x.shape[1] * 2 - 1)).abs()


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return self.lstm(packed)[0][0]


class Biases(nn.Module):
    """LeViT's: computed when it goes into evaluation, and no more."""

    def __init__(self):
        super().__init__()
        self.biases = nn.Parameter(torch.randn(2, 5))
        self.register_buffer("places", torch.tensor([[0, 1, 2, 3], [2, 3, 4, 0]]))

    @torch.no_grad()
    def train(self, mode=True):
        super().train(mode)
        if mode and hasattr(self, "kept"):
            del self.kept
        else:
            self.kept = self.biases[:, self.places].sum((0, 1))

    def forward(self, x):
        return x + (self.biases[:, self.places].sum((0, 1)) if self.training else self.kept)


class AdaIN(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = None

    def forward(self, x):
        return x * self.weight.view(x.shape[0], -1)


class Styled(nn.Module):
    """MUNIT's: it gives its parts tensors, of the size of the batch, which they read."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(3, 4), AdaIN())
        self.mlp = nn.Linear(2, 4)

    def forward(self, x, style):
        for part in self.modules():
            if type(part).__name__ == "AdaIN":
                part.weight = self.mlp(style).contiguous().view(-1)
        return self.model(x)


_TRACKER = None


class Tracker:
    def __init__(self):
        self.on = False
        self.kept = {}

    def store(self, name, value):
        if self.on:
            self.kept[name] = value


def tracker():
    """One for all, made when it is first asked for."""
    global _TRACKER
    if _TRACKER is None:
        _TRACKER = Tracker()
    return _TRACKER


class Tracked(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        tracker().store("x", x)
        return self.fc(x) * (2 if tracker().on else 1)


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.fc = nn.Linear(4, 5), nn.Linear(5, 10)
        self.classifier = nn.Sequential(nn.ReLU(), nn.Linear(10, 10))

    def forward(self, x):
        return self.classifier(self.fc(self.stem(x)))


class Tuned(nn.Module):
    """Fine-tuning puts other layers in the place of a backbone's last ones."""

    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.backbone.fc = nn.Linear(self.backbone.fc.in_features, 10)
        self.backbone.classifier[1] = nn.Linear(10, 3)
        net = Backbone()
        net.fc = nn.Identity()
        net.classifier = nn.Sequential(nn.Linear(5, 3))
        self.net = net
        self.mid = nn.Module()
        self.mid.block = nn.Linear(3, 3)
        self.last = nn.ModuleList([nn.Linear(3, 3)])
        self.last[0] = nn.Linear(3, 3, bias=False)

    def forward(self, x):
        return self.last[0](self.mid.block(self.backbone(x) + self.net(x)))


class Shifts(nn.Module):
    """Rows moved by one, in memory that is read and written at once."""

    def forward(self, x):
        x = x * 2
        x[1:, :2] = x[:-1, :2]
        return x


class Weighs(nn.Module):
    """What it calls a weight is a loss's."""

    def __init__(self):
        super().__init__()
        self.weight = 0.5
        self.weight *= 3

    def forward(self, x):
        return x * self.weight
