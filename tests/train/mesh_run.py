"""A small network with BatchNorm and dropout, its data and its run, for any number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import fx
from fx import nn, optim

BATCH, EXAMPLES = 16, 76  # an epoch is four batches, and one of 12, which 8 does not divide


class Wide:
    """A model whose parameters are float64: rounding is far below what the tests look for."""

    def __init__(self, model):
        self.model = model

    def init(self, key):
        def widen(leaf):
            return leaf.astype(jnp.float64) if leaf.dtype == jnp.float32 else leaf

        return jax.tree.map(widen, self.model.init(key))

    def apply(self, *args, **kwargs):
        return self.model.apply(*args, **kwargs)


def network():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(36, 64, bias=False),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(64, 4),
    )


def convolutions():
    first = (nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*first, nn.MaxPool2d(2), nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(72, 4))


def optimizer():
    return optim.adam(optim.cosine_annealing_lr(0.01, T_max=20))


def loss_fn(outputs, targets):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), targets[:, None], 1))


@functools.cache
def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES, 1, 6, 6)).astype(dtype)
    rule = rng.normal(size=(36, 4))
    return fx.data.Dataset(x, (x.reshape(EXAMPLES, 36) @ rule).argmax(1).astype(np.int32))


def loader(sharding=None, dtype=np.float64):
    rows = None if sharding is None else sharding.batch
    return fx.data.Loader(data(dtype), BATCH, seed=3, drop_last=True, sharding=rows)


class Batches:
    """A loader whose batches go through a hook, and are placed here: the shorter last one too."""

    def __init__(self, sharding=None, before=None):
        self.loader = fx.data.Loader(data(), BATCH, seed=3)
        self.sharding, self.before = sharding, before

    def __len__(self):
        return len(self.loader)

    def epoch(self, epoch, start=0, steps_per_call=1):
        for number, batch in enumerate(self.loader.epoch(epoch, start, steps_per_call)):
            if self.before is not None:
                self.before(epoch * len(self) + start + number)
            yield self.place(batch, axis=int(steps_per_call > 1))

    def place(self, batch, axis):
        if self.sharding is None:
            return batch

        def put(leaf):
            spec = jax.P(*(None,) * axis, self.sharding.axes)
            if leaf.shape[axis] % self.sharding.parts:
                spec = jax.P()
            return jax.device_put(leaf, jax.NamedSharding(self.sharding.mesh, spec))

        return jax.tree.map(put, batch)
