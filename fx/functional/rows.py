"""Sums over all axes but the last, and their transpose, which spreads a vector over them.

On a CPU XLA sums columns one after the other, each with strides through all of memory, and at first
writes out what is summed: 10 to 20 times the time of reading it once. There a sum is folded
instead: eight blocks of rows are added to each other, as one elementwise loop that runs on all
cores and computes what it adds, until few rows are left. It is as exact as a pairwise sum.
"""

import functools
import math

import jax
import jax.numpy as jnp

BLOCKS = 8  # few enough for XLA to compute what is summed in the same loop
MORE_BLOCKS = 32  # so many that XLA does not put the second loop into the first
FEW = 32  # rows that XLA sums at once


def sum_rows(x: jax.Array) -> jax.Array:
    """The sum over all axes but the last.

    Args:
        x: [..., C], floating.

    Returns:
        [C].
    """
    if _rows(x.shape) is None:
        return _plain_sum(x)
    return jax.lax.platform_dependent(x, cpu=_folded_sum, default=_plain_sum)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def spread(x: jax.Array, shape: tuple[int, ...], on_cpu: bool = False) -> jax.Array:
    """A vector along the last axis of a shape; its gradient is a sum as `sum_rows` takes it.

    Args:
        x: [C].
        shape: (..., C).
        on_cpu: whether it is known that this is for a CPU.

    Returns:
        [..., C].
    """
    return jnp.broadcast_to(x, shape)


@spread.defjvp
def _spread_jvp(shape, on_cpu, primals, tangents):
    tangent = _unfolded if on_cpu and _rows(shape) else spread_tangent
    return spread(primals[0], shape, on_cpu), tangent(tangents[0], shape)


def spread_tangent(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """`spread` in the form that transposes to `sum_rows`, for a rule of derivatives to call."""
    broadcast = functools.partial(_broadcast, shape=shape)
    if _rows(shape) is None:
        return broadcast(x)
    return jax.lax.platform_dependent(
        x, cpu=functools.partial(_unfolded, shape=shape), default=broadcast
    )


def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """The sum x + bias; the gradient to the bias of float16 and bfloat16 is summed in float32."""
    narrow = x.dtype == bias.dtype and jnp.issubdtype(x.dtype, jnp.floating)
    return x + (_broadcast(bias, x.shape) if narrow else bias)


def _broadcast(x, shape):
    return jnp.broadcast_to(_wide(x), shape).astype(x.dtype)


def _rows(shape):
    """The number of rows, where there are many; None where a symbolic one has no value."""
    rows = math.prod(shape[:-1])
    return rows if isinstance(rows, int) and rows > FEW else None


def _plain_sum(x):
    return jnp.sum(x, range(x.ndim - 1))


def _folded_sum(x):
    dtype, x = x.dtype, _wide(x)
    for axis, blocks in _folds(x.shape):
        size = x.shape[axis] // blocks
        parts = [
            jax.lax.slice_in_dim(x, i * size, (i + 1) * size, axis=axis) for i in range(blocks)
        ]
        x = functools.reduce(jnp.add, parts)
    return _plain_sum(x).astype(dtype)


def _unfolded(x, shape):
    folds = _folds(shape)
    small = list(shape)
    for axis, blocks in folds:
        small[axis] //= blocks
    y = jnp.broadcast_to(_wide(x), small)
    for axis, blocks in reversed(folds):
        y = jnp.concatenate([y] * blocks, axis)
    return y.astype(x.dtype)


def _wide(x):
    """Sums of float16 and bfloat16 are taken in float32."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def _folds(shape):
    """Which axis to fold into how many blocks, until few rows are left or none divides."""
    shape, folds = list(shape[:-1]), []
    while math.prod(shape) > FEW:
        most = MORE_BLOCKS if folds else BLOCKS
        divisors = [max(k for k in range(1, most + 1) if size % k == 0) for size in shape]
        blocks = max(divisors)
        if blocks == 1:
            break
        axis = divisors.index(blocks)
        shape[axis] //= blocks
        folds.append((axis, blocks))
    return folds
