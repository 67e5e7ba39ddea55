"""A network with dropout and running statistics, and a loader, by hand: the contract, no more."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import fx


class Net:
    """[N, 4] to [N, 3]: two layers, dropout in between, a running mean of the input."""

    def init(self, key):
        first, second = jax.random.split(key)
        params = {
            "first": {"weight": jax.random.normal(first, (8, 4)) / 2},
            "second": {"weight": jax.random.normal(second, (3, 8)) / 3, "bias": jnp.zeros(3)},
        }
        return params, {"mean": jnp.zeros(4)}

    def apply(self, params, state, x, *, train=False, key=None):
        if train:
            batch = jnp.mean(x, 0).astype(jnp.float32)
            state = {"mean": 0.9 * state["mean"] + 0.1 * batch}
        h = jnp.maximum((x - state["mean"].astype(x.dtype)) @ params["first"]["weight"].T, 0)
        if train:
            h = jnp.where(jax.random.bernoulli(key, 0.5, h.shape), h * 2, 0)
        return h @ params["second"]["weight"].T + params["second"]["bias"], state


def data(n=50, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    rule = np.random.default_rng(1).normal(size=(4, 3))
    return x, (x @ rule).argmax(1).astype(np.int32)


class Batches:
    """Shuffled by (seed, epoch); counts the epochs it was asked for and those that were closed."""

    def __init__(self, n=50, batch_size=8, seed=0, drop_last=True):
        self.x, self.y = data(n)
        self.batch_size, self.seed, self.drop_last = batch_size, seed, drop_last
        self.closed = 0

    def __len__(self):
        whole, rest = divmod(len(self.x), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def epoch(self, epoch, start=0, steps_per_call=1):
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.x))
        steps = np.split(order, range(self.batch_size, len(order), self.batch_size))[: len(self)]
        try:
            for at in range(start, len(steps), steps_per_call):
                rows = steps[at : at + steps_per_call]
                rows = rows[0] if steps_per_call == 1 else np.stack(rows)
                yield self.x[rows], self.y[rows]
        finally:
            self.closed += 1

    def padded(self):
        for at in range(0, len(self.x), self.batch_size):
            rows = np.arange(at, at + self.batch_size)
            mask = rows < len(self.x)
            rows = np.where(mask, rows, 0)
            yield (self.x[rows], self.y[rows]), mask


def loss_fn(outputs, targets):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), targets[:, None], 1))


def accuracy(outputs, targets):
    return {"accuracy": jnp.mean(jnp.argmax(outputs, -1) == targets, dtype=jnp.float32)}


def jitter(inputs, key):
    return inputs if key is None else inputs + 0.01 * jax.random.normal(key, inputs.shape)


OPTIMIZER = fx.optim.adam(fx.optim.cosine_annealing_lr(0.05, T_max=40))


@functools.cache
def compiled(**options):
    step = fx.train.make_step(
        Net(), loss_fn, OPTIMIZER, metrics=accuracy, transform=jitter, **options
    )
    validation = Batches(24, 8, seed=1)
    validate = fx.train.make_eval(Net(), loss_fn, validation, metrics=accuracy, transform=jitter)
    return step, validate


def make(**options):
    """A step, a fresh state, and a validation function; compiled once for all tests."""
    step, validate = compiled(**options)
    return step, fx.train.create(Net(), OPTIMIZER, jax.random.key(0)), validate


def assert_same_bits(one, other):
    leaves, others = jax.tree.leaves_with_path(one), jax.tree.leaves_with_path(other)
    assert [path for path, _ in leaves] == [path for path, _ in others]
    for (path, a), (_, b) in zip(leaves, others):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), jax.tree_util.keystr(path)
