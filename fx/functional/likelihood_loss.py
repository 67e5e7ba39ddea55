"""Negative log-likelihoods of counts (Poisson) and of real numbers (Gauss).

Sums are taken in float32 (float64 for float64), and the result has the input's dtype.
"""

import math

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate, accumulated, common_float, promoted, wider
from fx.functional.loss import check_numbers, check_reduction, reduced, reduction_of


def poisson_nll_loss(
    input: jax.Array,
    target: jax.Array,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """exp(input) - target * input: the Poisson distribution's, less what no input changes.

    Args:
        input: [...], the logarithm of the rate; the rate itself if not log_input.
        target: counts, broadcast against the input.
        log_input: whether the input is a logarithm; else the loss is
            input - target * log(input + eps).
        full: add Stirling's approximation of log(target!), where the target is above 1.
        eps: added to a rate before its logarithm.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or the broadcast shape with reduction "none"; the dtype of input and target
        together, float32 of integers.

    Raises:
        ValueError: shapes do not broadcast, or the reduction is unknown.

    Source: torch.nn.functional.poisson_nll_loss, whose gradient to a target of 0 is NaN with full;
    here it is that of the loss without Stirling's part.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "poisson_nll_loss"
    check_reduction(reduction, where)
    x, t = jnp.asarray(input), jnp.asarray(target)
    dtype = wider(common_float(x), common_float(x, t))  # the rate of integers is float32
    x, t = _broadcast(x.astype(accumulated(dtype)), t.astype(accumulated(dtype)), where)
    loss = jnp.exp(x) - t * x if log_input else x - t * jnp.log(x + eps)
    if full:
        large = t > 1
        safe = jnp.where(large, t, 1)
        stirling = safe * jnp.log(safe) - safe + 0.5 * jnp.log(2 * math.pi * safe)
        loss = loss + jnp.where(large, stirling, 0)
    return reduced(loss, reduction, where).astype(dtype)


def gaussian_nll_loss(
    input: jax.Array,
    target: jax.Array,
    var: jax.Array | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> jax.Array:
    """(log(var) + (input - target)^2 / var) / 2.

    Args:
        input: [...], the means.
        target: broadcast against the input.
        var: the variances: a number, the input's shape, that shape without its last axis, or that
            shape with a 1 in place of one axis. A negative element makes the loss NaN: a compiled
            function cannot raise on a value as torch does.
        full: add log(2 pi) / 2.
        eps: the least variance; below it the gradient is as at it.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or the broadcast shape with reduction "none"; the dtype of input and target
        together.

    Raises:
        TypeError: the input is not floating, or the target of booleans.
        ValueError: var is a negative number or has another shape; shapes do not broadcast; the
            reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> float(gaussian_nll_loss(jnp.array([1.0]), jnp.array([3.0]), 1.0))
        2.0
    """
    where = "gaussian_nll_loss"
    check_reduction(reduction, where)
    accumulate(input, where)
    check_numbers(input, target, where)
    x, t, dtype = promoted(input, target, where)
    variance = _variance(var, x, where)
    variance = jnp.where(variance < 0, jnp.nan, _floor(variance, eps))
    x, t = _broadcast(x, t, where)
    loss = 0.5 * (jnp.log(variance) + jnp.square(x - t) / variance)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction, where).astype(dtype)


@jax.custom_jvp
def _floor(x, least):
    """max(x, least), whose derivative is 1 everywhere: torch clamps outside of its tape."""
    return jnp.maximum(x, least)


@_floor.defjvp
def _floor_jvp(primals, tangents):
    return _floor(*primals), tangents[0]


def _variance(var, x, where):
    if isinstance(var, int | float):
        if var < 0:
            raise ValueError(f"{where}: expected var >= 0, got {var}")
        return jnp.full(x.shape, var, x.dtype)
    var = jnp.asarray(var).astype(x.dtype)
    if var.shape == x.shape:
        return var
    if var.shape == x.shape[:-1]:
        return var[..., None]
    if var.ndim == x.ndim and sum(b for a, b in zip(x.shape, var.shape) if a != b) == 1:
        return var
    raise ValueError(
        f"{where}: expected var {list(x.shape)}, {list(x.shape[:-1])} or the input's shape with a "
        f"1 for one axis, got {list(var.shape)}"
    )


def _broadcast(x, t, where):
    try:
        shape = jnp.broadcast_shapes(x.shape, t.shape)
    except ValueError:
        raise ValueError(
            f"{where}: expected target {list(x.shape)} or what broadcasts to it, got "
            f"{list(t.shape)}; reshape one of them"
        ) from None
    return jnp.broadcast_to(x, shape), jnp.broadcast_to(t, shape)
