"""The ConvNet's training step in JAX alone, by hand: the floor for what fx adds.

No library but jax: channels-last, pooling as a maximum over a reshape, moments in one pass, Adam
written out. One compiled function of arrays that gives its memory back.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.networks.tasks import Task
from benchmarks.shared.images import MEAN, STD
from benchmarks.sides.jax_train import convnet_layers

CHANNELS = (3, 32, 32, 64, 64, 128, 128)
BETA1, BETA2, EPS, DECAY = 0.9, 0.999, 1e-8, 1e-4
MOMENTUM = 0.1


def initial(key: jax.Array) -> tuple[Any, Any]:
    """Weights and running statistics."""
    conv, norm, state = [], [], []
    for c_in, c in zip(CHANNELS, CHANNELS[1:]):
        key, own = jax.random.split(key)
        std = (2 / (9 * c)) ** 0.5
        conv.append((std * jax.random.normal(own, (3, 3, c_in, c)), jnp.zeros(c)))
        norm.append((jnp.ones(c), jnp.zeros(c)))
        state.append((jnp.zeros(c), jnp.ones(c)))
    dense = []
    for d_in, d in ((128, 256), (256, 10)):
        key, own = jax.random.split(key)
        dense.append((0.01 * jax.random.normal(own, (d_in, d)), jnp.zeros(d)))
    return {"conv": conv, "norm": norm, "dense": dense}, state


def batch_norm(x: jax.Array, scale: Any, bias: Any, running: Any) -> tuple[jax.Array, Any]:
    """[N, H, W, C] by the batch's own moments; returns the new running ones, too."""
    wide = x.astype(jnp.float32)
    mean = wide.mean((0, 1, 2))
    var = jnp.maximum((wide * wide).mean((0, 1, 2)) - mean * mean, 0)
    y = (wide - mean) * (lax.rsqrt(var + 1e-5) * scale) + bias
    count = x.size // x.shape[-1]
    moved = [
        (1 - MOMENTUM) * old + MOMENTUM * new
        for old, new in zip(running, (mean, var * (count / (count - 1))))
    ]
    return y.astype(x.dtype), tuple(moved)


def drop(x: jax.Array, key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(keep, x / (1 - rate), jnp.zeros((), x.dtype))


def forward(params: Any, state: Any, x: jax.Array, key: jax.Array | None) -> tuple[jax.Array, Any]:
    """Logits of images [N, H, W, 3]; without a key nothing is dropped."""
    keys = None if key is None else jax.random.split(key, 4)
    new = []
    for i, ((kernel, bias), norm, running) in enumerate(zip(params["conv"], params["norm"], state)):
        x = lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x, moved = batch_norm(x + bias, *norm, running)
        new.append(moved)
        x = jnp.maximum(x, 0)
        if i % 2:
            n, h, w, c = x.shape
            x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))  # [N, H / 2, W / 2, C]
            if keys is not None:
                x = drop(x, keys[i // 2], 0.25, (n, 1, 1, c))
    x = x.mean((1, 2))
    (w1, b1), (w2, b2) = params["dense"]
    x = jnp.maximum(x @ w1 + b1, 0)
    if keys is not None:
        x = drop(x, keys[3], 0.3, x.shape)
    return x @ w2 + b2, new


def adam(params: Any, grads: Any, moments: Any, count: jax.Array, lr: float) -> tuple[Any, Any]:
    """Adam with weight decay as L2."""
    t = (count + 1).astype(jnp.float32)

    def update(p: Any, g: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
        g = g + DECAY * p
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        scaled = (m / (1 - BETA1**t)) / (jnp.sqrt(v / (1 - BETA2**t)) + EPS)
        return p - lr * scaled, m, v

    out = jax.tree.map(update, params, grads, *moments)
    p, m, v = jax.tree.transpose(jax.tree.structure(params), jax.tree.structure((0, 0, 0)), out)
    return p, (m, v)


def make(
    name: str,
    task: Task,
    precision: str,
    weights: dict[str, np.ndarray] | None,
    steps_per_call: int = 1,
) -> tuple[Any, Any]:
    """State and step, as `benchmarks.sides.jax_train` wants them."""
    if name != "convnet":
        raise NotImplementedError(f"by hand there is no {task.title}")
    dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
    random = weights is None

    def objective(params: Any, state: Any, x: jax.Array, labels: jax.Array, key: Any) -> Any:
        cast = jax.tree.map(lambda p: p.astype(dtype), params)
        logits, new = forward(cast, state, x.astype(dtype), key if random else None)
        log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
        return -jnp.take_along_axis(log_p, labels[:, None], 1).mean(), new

    @functools.partial(jax.jit, donate_argnums=0)
    def step(carry: Any, batch: Any) -> tuple[Any, jax.Array]:
        (params, state, moments, count), (images, labels) = carry, batch
        flip_key, key = jax.random.split(jax.random.fold_in(jax.random.key(0), count))
        x = images.astype(jnp.float32) / 255
        if random:
            flips = jax.random.bernoulli(flip_key, 0.5, (len(x), 1, 1, 1))
            x = jnp.where(flips, x[:, :, ::-1], x)
        x = (x - jnp.array(MEAN)) / jnp.array(STD)
        gradient = jax.value_and_grad(objective, has_aux=True)
        (loss, state), grads = gradient(params, state, x, labels, key)
        params, moments = adam(params, grads, moments, count, task.lr)
        return (params, state, moments, count + 1), loss

    params, state = initial(jax.random.key(0)) if weights is None else _given(weights)
    zeros = jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params)
    return (params, state, zeros, jnp.int32(0)), Compiled(step)


class Compiled:
    """A jitted step, with the name under which the trainer looks for it."""

    def __init__(self, compiled: Any):
        self.compiled = compiled

    def __call__(self, carry: Any, batch: Any) -> tuple[Any, jax.Array]:
        """Run the step."""
        return self.compiled(carry, batch)


def _given(weights: dict[str, np.ndarray]) -> tuple[Any, Any]:
    layers = jax.tree.map(jnp.asarray, convnet_layers(weights))
    norm = [each[:2] for each in layers["norm"]]
    params = {"conv": layers["conv"], "norm": norm, "dense": layers["dense"]}
    return params, [each[2:] for each in layers["norm"]]
