"""Activation functions that bring what is near 0 nearer to it."""

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulated
from fx.functional.elementwise import floating, of_floats, of_numbers


@of_numbers
def tanhshrink(input: jax.Array) -> jax.Array:
    """Returns x - tanh(x); of integers in float32.

    Where x is small the difference has few digits. There it is a part of its continued fraction.
    """
    return _tanhshrink(floating(input))


@jax.custom_jvp
def _tanhshrink(x):
    wide = x.astype(accumulated(x.dtype))
    near = jnp.abs(wide) < (1e7 * float(jnp.finfo(wide.dtype).eps)) ** 0.1  # both are as good there
    small = jnp.where(near, wide, 0)
    square = jnp.square(small)
    fraction = small * square * (315 + 14 * square) / (945 + (420 + 15 * square) * square)
    return jnp.where(near, fraction, wide - jnp.tanh(wide)).astype(x.dtype)


@_tanhshrink.defjvp
def _tanhshrink_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    slope = jnp.square(jnp.tanh(x.astype(accumulated(x.dtype))))
    return _tanhshrink(x), slope.astype(x.dtype) * dx


@of_floats
def hardshrink(input: jax.Array, lambd: float = 0.5) -> jax.Array:
    """Returns 0 where |x| <= lambd, x elsewhere."""
    input = jnp.asarray(input)
    return jnp.where(jnp.abs(input) <= lambd, jnp.zeros((), input.dtype), input)


@of_floats
def softshrink(input: jax.Array, lambd: float = 0.5) -> jax.Array:
    """Moves x towards 0 by lambd, and to 0 where |x| <= lambd.

    Raises:
        ValueError: lambd is negative, or more than the input's dtype holds.
    """
    input = jnp.asarray(input)
    if not 0 <= lambd <= float(jnp.finfo(input.dtype).max):
        raise ValueError(
            f"softshrink: expected lambd from 0 to what {input.dtype} holds, got {lambd}"
        )
    moved = jnp.where(input < 0, input + lambd, input - lambd)
    return jnp.where(jnp.abs(input) <= lambd, jnp.zeros((), input.dtype), moved)
