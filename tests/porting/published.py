"""What published repositories do that books do not."""

import torch
from torch import nn


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        x = ctx.saved_variables[0]
        gate = torch.sigmoid(x)
        return grad * (gate * (1 + x * (1 - gate)))


class SavedVariables(nn.Module):
    def forward(self, x):
        return Swish.apply(x)


class Restored(torch.autograd.Function):
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
        return Restored.apply(x, None)


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
