"""Small modules that the tests of the core share."""

import jax
import jax.numpy as jnp

from fx import nn


class Dense(nn.Module):
    def __init__(self, d_in, d_out):
        self.d_in, self.d_out = d_in, d_out
        self.weight = nn.Parameter((d_out, d_in), nn.init.normal(std=0.1))
        self.bias = nn.Parameter((d_out,), nn.init.zeros)

    def forward(self, x):
        return x @ self.weight.T + self.bias


class Counter(nn.Module):
    def __init__(self):
        self.count = nn.Buffer((), nn.init.zeros, jnp.int32)

    def forward(self, x):
        if self.training:
            self.count = self.count + 1
        return x


class Noise(nn.Module):
    def forward(self, x):
        if not self.training:
            return x
        return x + jax.random.normal(self.next_key(), x.shape)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = Dense(3, 4)
        self.counter = Counter()
        self.noise = Noise()
        self.fc2 = Dense(4, 2)

    def forward(self, x):
        return self.fc2(self.noise(self.counter(self.fc1(x))))


class Residual(nn.Module):
    """A layer with everything that a transformation can get wrong: state, two draws, a flag."""

    def __init__(self, dim):
        self.fc, self.norm, self.drop = nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.Dropout(0.5)

    def forward(self, x, scale=None, *, double=False):
        y = self.drop(self.norm(self.fc(self.drop(x))))
        y = y if scale is None else y * scale
        return x + y + y if double else x + y
