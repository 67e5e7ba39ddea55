"""RAdam: Adam that waits until its second moment can be trusted."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fx.optim.complex_weights import chain
from fx.optim.learning_rate import scale_by_learning_rate
from fx.optim.parts import Rate, check, decay_links


def radam(
    lr: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam whose first steps are plain momentum, until the second moment can be trusted.

    Args:
        lr: Learning rate, or a schedule.
        betas: Decay of the averages of the gradient and of its square: numbers.
        eps: Added to the denominator.
        weight_decay: L2 penalty, or a share of the weights; see decoupled_weight_decay.
        decoupled_weight_decay: Decay weights apart from the moments, as `adamw` does.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number, or a beta outside [0, 1).

    Example:
        >>> optimizer = radam(1e-3, betas=(0.9, 0.99))

    Source: torch.optim.RAdam (arXiv 1908.03265). `optax.radam` adds eps after the correction of
    bias, torch before.
    """
    check("radam", lr=lr, eps=eps, weight_decay=weight_decay, betas=betas)
    moments = _scale_by_radam(*betas, eps)
    links = decay_links(weight_decay, maximize, decoupled_weight_decay, moments)
    return chain(*links, scale_by_learning_rate(lr))


def _scale_by_radam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    tree = optax.tree_utils

    def init(params: Any) -> optax.ScaleByAdamState:
        zeros = [tree.tree_zeros_like(params) for _ in range(2)]
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), *zeros)

    def update(updates: Any, state: Any, params: Any = None):
        del params
        count = jnp.asarray(optax.safe_increment(state.count))
        step = count.astype(jnp.result_type(float))
        mu = tree.tree_update_moment(updates, state.mu, b1, 1)
        nu = tree.tree_update_moment(updates, state.nu, b2, 2)
        trusted, scale = _rectification(b2, step)

        def rectify(m: jax.Array, v: jax.Array) -> jax.Array:
            return jnp.where(trusted, scale.astype(m.dtype) * m / (jnp.sqrt(v) + eps), m)

        updates = jax.tree.map(rectify, tree.tree_bias_correction(mu, b1, step), nu)
        return updates, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def _rectification(b2: float, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether the second moment can be trusted, and the factor of the step if so."""
    longest = 2 / (1 - b2) - 1
    if longest <= 5:
        return jnp.zeros((), bool), jnp.ones((), step.dtype)
    # The length is longest - 2 step b2^step / (1 - b2^step). In float32 the difference of these
    # large numbers would lose the small lengths, on which the decision hangs; so the part that
    # grows, step (1 - 2 h(x)) with h(x) = 1 / (e^x - 1) - 1/x + 1/2, stands apart.
    rate = -math.log(b2)
    x = rate * step
    series = 1 - x / 6 + x**3 / 360 - x**5 / 15120
    grown = jnp.where(x < 0.05, series, 2 / x - 2 / jnp.expm1(x))
    length = (longest - 2 / rate) + step * grown
    trusted = length > 5
    safe = jnp.where(trusted, length, 5.0)
    ratio = (safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe)
    return trusted, jnp.sqrt(ratio * -jnp.expm1(-x))
