"""Normalisation by the sum of squares of neighbouring channels."""

import functools

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate


def local_response_norm(
    input: jax.Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> jax.Array:
    """Divides by (k + alpha * mean of squares over `size` neighbouring channels) ** beta.

    Args:
        input: [N, C, ...] with a spatial axis at least, floating; float16 and bfloat16 compute in
            float32.
        size: number of channels of a window, size // 2 of them before the channel itself; channels
            that do not exist count as 0.
        alpha: factor of the mean.
        beta: exponent.
        k: what is added.

    Returns:
        The input's shape and dtype.

    Raises:
        TypeError: the input is not floating.
        ValueError: the input has fewer than 3 axes, or size is below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> local_response_norm(jnp.ones((1, 2, 1)), 2, alpha=2.0, beta=1.0).ravel().tolist()
        [0.5, 0.3333333432674408]
    """
    where = "local_response_norm"
    x = accumulate(input, where)
    if x.ndim < 3:
        raise ValueError(f"{where}: expected input [N, C, ...], got {list(x.shape)}")
    if size < 1:
        raise ValueError(f"{where}: expected size of 1 or more, got {size}")
    mean = channel_window_sum(jnp.square(x), size // 2, (size - 1) // 2) / size
    return (x / (alpha * mean + k) ** beta).astype(jnp.asarray(input).dtype)


def channel_window_sum(x: jax.Array, before: int, after: int) -> jax.Array:
    """Sums every channel of [N, C, ...] with those that stand before and after it."""
    channels, config = x.shape[1], [(0, 0, 0)] * x.ndim
    config[1] = (before, after, 0)
    padded = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
    shifted = [
        jax.lax.slice_in_dim(padded, i, i + channels, axis=1) for i in range(before + after + 1)
    ]
    return functools.reduce(jnp.add, shifted)
