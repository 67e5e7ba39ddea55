"""NAdam: Adam with Nesterov's momentum, on a schedule of its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.complex_weights import chain
from fx.optim.learning_rate import scale_by_learning_rate
from fx.optim.parts import Rate, check, decay_links


def nadam(
    lr: Rate = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam with Nesterov's momentum, which grows from half of `betas[0]` to all of it.

    Args:
        lr: Learning rate, or a schedule.
        betas: Decay of the averages of the gradient and of its square.
        eps: Added to the denominator.
        weight_decay: L2 penalty, or a share of the weights; see decoupled_weight_decay.
        momentum_decay: How fast the momentum grows.
        decoupled_weight_decay: Decay weights apart from the moments, as `adamw` does.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number, or a beta outside [0, 1).

    Example:
        >>> optimizer = nadam(2e-3, weight_decay=1e-2, decoupled_weight_decay=True)

    Source: torch.optim.NAdam; Dozat, Incorporating Nesterov Momentum into Adam. `optax.nadam`
    keeps the momentum constant.
    """
    check(
        "nadam",
        lr=lr,
        eps=eps,
        weight_decay=weight_decay,
        momentum_decay=momentum_decay,
        betas=betas,
    )
    moments = _scale_by_nadam(*betas, eps, momentum_decay)
    links = decay_links(weight_decay, maximize, decoupled_weight_decay, moments)
    return chain(*links, scale_by_learning_rate(lr))


class NadamState(NamedTuple):
    """Steps taken, the product of all momenta so far, and both moments."""

    count: jax.Array
    mu_product: jax.Array
    mu: Any
    nu: Any


def _scale_by_nadam(b1: float, b2: float, eps: float, momentum_decay: float):
    tree = optax.tree_utils

    def momentum(step: jax.Array) -> jax.Array:
        return b1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))

    def init(params: Any) -> NadamState:
        zeros = [tree.tree_zeros_like(params) for _ in range(2)]
        return NadamState(jnp.zeros((), jnp.int32), jnp.ones((), jnp.result_type(float)), *zeros)

    def update(updates: Any, state: Any, params: Any = None):
        del params
        count = jnp.asarray(optax.safe_increment(state.count))
        step = count.astype(state.mu_product.dtype)
        now, following = momentum(step), momentum(step + 1)
        product = state.mu_product * now
        of_gradient = (1 - now) / (1 - product)
        of_mean = following / (1 - product * following)
        mu = tree.tree_update_moment(updates, state.mu, b1, 1)
        nu = tree.tree_update_moment(updates, state.nu, b2, 2)
        nu_hat = tree.tree_bias_correction(nu, b2, step)

        def combine(g: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            ahead = of_gradient.astype(g.dtype) * g + of_mean.astype(g.dtype) * m
            return ahead / (jnp.sqrt(v) + eps)

        return jax.tree.map(combine, updates, mu, nu_hat), NadamState(count, product, mu, nu)

    return optax.GradientTransformation(init, update)
