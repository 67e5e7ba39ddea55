"""Random numbers for initial weights.

A draw of each shape is a program of its own where weights are made outside of `jax.jit`, and it
runs once. XLA's last level of optimisation takes four times as long over one on a CPU, and gains
nothing there: the numbers are the same to the bit, and so is the time that it takes to draw them.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Draw = Callable[..., jax.Array]


def uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any, a: Any, b: Any) -> jax.Array:
    """`jax.random.uniform` on [a, b)."""
    return _drawn(jax.random.uniform, key, shape, dtype, a, b)


def normal(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """`jax.random.normal`."""
    return _drawn(jax.random.normal, key, shape, dtype)


def truncated_normal(
    key: jax.Array, low: Any, high: Any, shape: tuple[int, ...], dtype: Any
) -> jax.Array:
    """`jax.random.truncated_normal` on [low, high]."""
    return _drawn(_truncated, key, shape, dtype, low, high)


def _truncated(key: jax.Array, shape: Any, dtype: Any, low: Any, high: Any) -> jax.Array:
    return jax.random.truncated_normal(key, low, high, shape, dtype)


def _drawn(draw: Draw, key: jax.Array, shape: Any, dtype: Any, *bounds: Any) -> jax.Array:
    traced = any(isinstance(each, jax.core.Tracer) for each in (key, *bounds))
    if traced or _level_is_chosen():
        return draw(key, shape, dtype, *bounds)
    # As these functions round them; a Python number would be a float32 first.
    bounds = tuple(jnp.asarray(bound, dtype) for bound in bounds)
    return _compiled(draw, key, tuple(shape), jnp.dtype(dtype), bounds)


@partial(
    jax.jit, static_argnums=(0, 2, 3), compiler_options={"xla_backend_optimization_level": "2"}
)
def _compiled(draw: Draw, key: jax.Array, shape: Any, dtype: Any, bounds: Any) -> jax.Array:
    return draw(key, shape, dtype, *bounds)


def _level_is_chosen() -> bool:
    """Whether the user has said how much XLA is to optimise."""
    said = os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS", "0").lower() not in ("", "0", "false")
    return said or "xla_backend_optimization_level" in os.environ.get("XLA_FLAGS", "")
