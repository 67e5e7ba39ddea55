"""The problem on which our optimizers are held against torch's, and both sides of it."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from fx import optim

NAMES = ("w1", "b1", "w2", "s")


def data(steps=100):
    """Weights of a two-layer tanh network (matrices, a vector, a scalar), and noisy batches."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(4, 5)),
        "b1": rng.normal(size=(5,)),
        "w2": rng.normal(size=(5, 3)),
        "s": rng.normal(size=()),
    }
    return weights, rng.normal(size=(steps, 8, 4)), rng.normal(size=(steps, 8, 3))


def loss_of(namespace, p, x, y, penalty=0.0):
    hidden = namespace.tanh(x @ p["w1"] + p["b1"])
    error = ((namespace.tanh(hidden @ p["w2"]) * p["s"] - y) ** 2).mean()
    return error + penalty * sum((w**2).sum() for w in p.values())


def run_fx(optimizer, steps=100, trained=NAMES, dtype=None, batch=None, penalty=0.0):
    """Train with one compiled scan; returns parameters, optimizer state and learning rates.

    With `batch` every step takes the same one.
    """
    optimizer = optax.with_extra_args_support(optimizer)
    weights, xs, ys = jax.tree.map(lambda a: jnp.asarray(a, dtype), data(steps))
    fixed = {name: weights[name] for name in NAMES if name not in trained}
    if batch is not None:
        xs, ys = (jnp.broadcast_to(a[batch], a.shape) for a in (xs, ys))

    def step(carry, batch):
        params, opt_state = carry

        def loss(params):
            return loss_of(jnp, {**params, **fixed}, *batch, penalty)

        value, grads = jax.value_and_grad(loss)(params)
        extra = {"value": value, "value_fn": loss}
        updates, opt_state = optimizer.update(grads, opt_state, params, **extra)
        return (optax.apply_updates(params, updates), opt_state), optim.current_lr(opt_state)

    params = {name: weights[name] for name in trained}
    (params, opt_state), rates = jax.lax.scan(step, (params, optimizer.init(params)), (xs, ys))
    return params, opt_state, rates


@contextlib.contextmanager
def torch_default(dtype):
    """torch keeps some scalars of NAdam and ASGD in the default dtype, whatever the parameters'."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


def run_torch(
    make,
    steps=100,
    trained=NAMES,
    dtype=torch.float64,
    batch=None,
    penalty=0.0,
    scheduler=None,
    shift=0.0,
):
    """Train with torch; returns parameters, the optimizer and learning rates."""
    weights, xs, ys = jax.tree.map(lambda a: torch.tensor(a + shift, dtype=dtype), data(steps))
    params = {n: w.requires_grad_(n in trained) for n, w in weights.items()}
    with torch_default(dtype):
        optimizer = make([params[name] for name in trained])
        schedule = scheduler(optimizer) if scheduler else None
        rates = []
        for i in range(steps):

            def closure(i=i if batch is None else batch):
                optimizer.zero_grad()
                loss = loss_of(torch, params, xs[i], ys[i], penalty)
                loss.backward()
                return loss

            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step(closure)
            if schedule:
                schedule.step()
    return {n: params[n].detach().numpy() for n in trained}, optimizer, rates
