"""Adafactor: a second moment of a matrix kept as its rows' and its columns' averages."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.complex_weights import chain
from fx.optim.parts import (
    Rate,
    at_least_float32,
    check,
    check_params,
    given,
    gradient_links,
    map_leaves,
    with_learning_rate,
)


class AdafactorState(NamedTuple):
    """Second moments, each with the parameters' structure.

    Attributes:
        row_var: [..., N, 1] of a parameter [..., N, M]; [1] of a vector or scalar.
        col_var: [..., 1, M] of a parameter [..., N, M]; [1] of a vector or scalar.
        variance: That of a vector or scalar, in its shape; [1] of all others.
    """

    row_var: Any
    col_var: Any
    variance: Any


def adafactor(
    lr: Rate = 1e-2,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam's second moment in little memory, with steps relative to the size of the weights.

    Args:
        lr: Largest relative step, or a schedule of it; the step is min(lr, 1 / sqrt(step)) times
            the root mean square of the parameter.
        beta2_decay: Power of the step that gives the weight of the newest squared gradient.
        eps: Least root of the second moment (None: the machine epsilon of the parameter's dtype),
            and least root mean square of a parameter.
        d: Largest root mean square of an update, before the relative step.
        weight_decay: Share of a weight, times lr, taken off at each step.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation. `current_lr` reads `lr`, as torch's `param_groups` do.

    Raises:
        ValueError: A negative number, beta2_decay above 0, d below 1; at the update, parameters
            left out.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> state = adafactor().init({"weight": jnp.zeros((300, 200))})
        >>> sum(leaf.size for leaf in jax.tree.leaves(state)) < 510
        True

    Source: torch.optim.Adafactor, whose first eps is that of the first parameter's dtype for all
    where dtypes differ; arXiv 1804.04235. `optax.adafactor` has other arguments and constants.
    """
    check("adafactor", lr=lr, weight_decay=weight_decay, **{"eps[0]": eps[0], "eps[1]": eps[1]})
    if not beta2_decay <= 0:
        raise ValueError(f"adafactor: expected beta2_decay <= 0, got {beta2_decay}")
    if not d >= 1:
        raise ValueError(f"adafactor: expected d >= 1, got {d}")

    def init(params: Any, rate: jax.Array) -> AdafactorState:
        del rate
        return AdafactorState(*map_leaves(_zero_moments, 3, params))

    def update(updates: Any, state: AdafactorState, params: Any, rate: Any, **extra: Any):
        del extra
        check_params("adafactor", params)
        step = rate.count.astype(rate.learning_rate.dtype)
        share = step**beta2_decay
        relative = jnp.minimum(rate.learning_rate, 1 / jnp.sqrt(step))

        def move(g: jax.Array, p: jax.Array, *moments: jax.Array):
            kept = g.dtype
            wide = at_least_float32(kept)
            g, p = g.astype(wide), p.astype(wide)
            least = jnp.finfo(kept).eps if eps[0] is None else eps[0]
            variance, moments = _second_moment(g, moments, share.astype(wide), float(least))
            scaled = g * jax.lax.rsqrt(jnp.maximum(variance, float(least) ** 2))
            scaled = scaled / jnp.maximum(1.0, _root_mean_square(scaled) / d)
            size = jnp.maximum(eps[1], _root_mean_square(p)) * relative.astype(wide)
            delta = -size * scaled
            if given(weight_decay):
                delta = delta - (rate.learning_rate * weight_decay).astype(wide) * p
            return delta.astype(kept), *(m.astype(kept) for m in moments)

        updates, *moments = map_leaves(move, 4, updates, params, *state)
        return updates, AdafactorState(*moments)

    return chain(*gradient_links(0.0, maximize), with_learning_rate(lr, init, update))


def _zero_moments(p: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    # Not [0] for what is absent, because not every checkpoint format stores empty arrays.
    # Each an array of its own: what appears twice cannot be donated.
    if p.ndim < 2:
        return jnp.zeros((1,), p.dtype), jnp.zeros((1,), p.dtype), jnp.zeros_like(p)
    *batch, rows, columns = p.shape
    row, column = jnp.zeros((*batch, rows, 1), p.dtype), jnp.zeros((*batch, 1, columns), p.dtype)
    return row, column, jnp.zeros((1,), p.dtype)


def _second_moment(g: jax.Array, moments: tuple, share: jax.Array, least: float):
    row, col, variance = (m.astype(g.dtype) for m in moments)
    squared = g * g
    if g.ndim < 2:
        variance = (1 - share) * variance + share * squared
        return variance, (row, col, variance)
    row = (1 - share) * row + share * jnp.mean(squared, -1, keepdims=True)
    col = (1 - share) * col + share * jnp.mean(squared, -2, keepdims=True)
    of_rows = jnp.maximum(jnp.mean(row, -2, keepdims=True), least)
    return row * col / of_rows, (row, col, variance)


def _root_mean_square(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(x * x))
