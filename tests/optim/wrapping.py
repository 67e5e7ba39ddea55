"""A small problem, run as training runs are: jitted, donated, scanned, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fx import train


class Net:
    """A model of the contract with names like a network's."""

    def init(self, key):
        first, second = jax.random.split(key)
        return {
            "body": {"weight": jax.random.normal(first, (4, 3)), "bias": jnp.zeros(3)},
            "head": {"weight": jax.random.normal(second, (3, 2)), "bias": jnp.ones(2)},
        }, {}

    def apply(self, params, state, x, *, train=False, key=None):
        body, head = params["body"], params["head"]
        hidden = jnp.tanh(x @ body["weight"] + body["bias"])
        return hidden @ head["weight"] + head["bias"], state


def mse(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


def batches(steps, dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.normal(size=(steps, 8, 4)).astype(dtype), rng.normal(size=(steps, 8, 2)).astype(
        dtype
    )


def full(case):
    """A case that runs in `make test-all` only."""
    return pytest.param(case, marks=pytest.mark.full)


def shapes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def by_hand(optimizer, params, xs, ys):
    """Params and optimizer state after every batch, as a list."""
    net, history = Net(), []
    update = optax.with_extra_args_support(optimizer).update

    @jax.jit
    def step(params, opt_state, x, y):
        def loss(p):
            return mse(net.apply(p, {}, x)[0], y)

        value, grads = jax.value_and_grad(loss)(params)
        updates, opt_state = update(
            grads, opt_state, params, value=value, grad=grads, grad_fn=jax.grad(loss)
        )
        return optax.apply_updates(params, updates), opt_state

    with jax.numpy_dtype_promotion("standard"):
        opt_state = optimizer.init(params)
        for x, y in zip(xs, ys):
            params, opt_state = step(params, opt_state, x, y)
            history.append((params, opt_state))
    return history


def check_in_training(optimizer, steps=6):
    """make_step with donation, one call for all steps, vmap and by hand agree; states keep kind."""
    xs, ys = batches(steps)
    key = jax.random.key(0)
    step = train.make_step(Net(), mse, optimizer, max_compiles=1)
    ts = train.create(Net(), step.optimizer, key)
    before = shapes(ts)
    start = jax.tree.map(jnp.copy, ts.params)
    for x, y in zip(xs, ys):
        ts, metrics = step(ts, (x, y))  # donates: an array that appears twice would fail
    assert shapes(ts) == before and jax.tree.structure(shapes(ts)) == jax.tree.structure(before)
    assert np.isfinite(metrics["loss"])

    scanned = train.make_step(Net(), mse, optimizer, steps_per_call=steps)
    together, _ = scanned(train.create(Net(), scanned.optimizer, key), (xs, ys))
    close(together.params, ts.params)
    close(by_hand(optimizer, start, xs, ys)[-1][0], ts.params)

    keys = jnp.stack([key, jax.random.key(1)])
    seeds = jax.vmap(lambda key: train.create(Net(), step.optimizer, key))(keys)
    advance = jax.jit(jax.vmap(step.function, in_axes=(0, None)))
    for x, y in zip(xs, ys):
        seeds, _ = advance(seeds, (x, y))
    close(jax.tree.map(lambda leaf: leaf[0], seeds.params), ts.params)
    return ts


def close(ours, expected, **tolerance):
    tolerance = tolerance or {"rtol": 1e-4, "atol": 1e-5}  # float32, other fusions
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, expected)
