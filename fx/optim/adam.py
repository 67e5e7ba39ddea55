"""Adam and its nearest relatives: AdamW, AMSGrad and Adamax."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.complex_weights import chain
from fx.optim.learning_rate import scale_by_learning_rate
from fx.optim.parts import Rate, check, decay_links, gradient_links, promoting


def adam(
    lr: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> optax.GradientTransformation:
    """Adam. `weight_decay` is torch's: an L2 penalty, added to the gradient before the moments.

    Args:
        lr: Learning rate, or a schedule.
        betas: Decay of the averages of the gradient and of its square.
        eps: Added to the denominator.
        weight_decay: L2 penalty. For decay apart from the moments, use `adamw`.
        amsgrad: Divide by the largest second moment so far.
        maximize: Climb instead of descend.
        decoupled_weight_decay: Decay weights apart from the moments, as `adamw` does.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number, or a beta outside [0, 1).

    Example:
        >>> import fx
        >>> schedule = fx.optim.cosine_annealing_lr(1e-3, T_max=1000, eta_min=1e-6)
        >>> optimizer = adam(schedule, weight_decay=1e-4)

    Source: torch.optim.Adam. `optax.adam` has no weight decay.
    """
    check("adam", lr=lr, eps=eps, weight_decay=weight_decay, betas=betas)
    return _adam(lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay)


def adamw(
    lr: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam with weight decay apart from the moments.

    Args:
        lr: Learning rate, or a schedule.
        betas: Decay of the averages of the gradient and of its square.
        eps: Added to the denominator.
        weight_decay: Share of a weight, times the learning rate, taken off at each step.
        amsgrad: Divide by the largest second moment so far.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number, or a beta outside [0, 1).

    Example:
        >>> optimizer = adamw(3e-4, betas=(0.9, 0.95), weight_decay=0.1)

    Source: torch.optim.AdamW, whose default weight_decay is 1e-2 (`optax.adamw`: 1e-4).
    """
    check("adamw", lr=lr, eps=eps, weight_decay=weight_decay, betas=betas)
    return _adam(lr, betas, eps, weight_decay, amsgrad, maximize, True)


def adamax(
    lr: Rate = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam with the largest recent gradient in place of the root of the average square.

    Args:
        lr: Learning rate, or a schedule.
        betas: Decay of the average of the gradient and of its largest value.
        eps: Added to the size of each gradient.
        weight_decay: L2 penalty, added to the gradient.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number, or a beta outside [0, 1).

    Example:
        >>> optimizer = adamax(2e-3, weight_decay=1e-4)

    Source: torch.optim.Adamax; Adam (arXiv 1412.6980), section 7.1.
    """
    check("adamax", lr=lr, eps=eps, weight_decay=weight_decay, betas=betas)
    moments = promoting(optax.scale_by_adamax(*betas, eps))
    links = gradient_links(weight_decay, maximize)
    return chain(*links, moments, scale_by_learning_rate(lr))


def _adam(lr, betas, eps, weight_decay, amsgrad, maximize, decoupled):
    scale: Any = _scale_by_amsgrad if amsgrad else optax.scale_by_adam
    links = decay_links(weight_decay, maximize, decoupled, promoting(scale(*betas, eps)))
    return chain(*links, scale_by_learning_rate(lr))


class AmsgradState(NamedTuple):
    """Steps taken, both moments, and the largest second moment so far."""

    count: jax.Array
    mu: Any
    nu: Any
    nu_max: Any


def _scale_by_amsgrad(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """AMSGrad as torch has it: the maximum comes before the correction of bias (optax: after)."""
    tree = optax.tree_utils

    def init(params: Any) -> AmsgradState:
        zeros = [tree.tree_zeros_like(params) for _ in range(3)]
        return AmsgradState(jnp.zeros((), jnp.int32), *zeros)

    def update(updates: Any, state: Any, params: Any = None):
        del params
        count = jnp.asarray(optax.safe_increment(state.count))
        mu = tree.tree_update_moment(updates, state.mu, b1, 1)
        nu = tree.tree_update_moment(updates, state.nu, b2, 2)
        nu_max = jax.tree.map(jnp.maximum, state.nu_max, nu)
        mu_hat = tree.tree_bias_correction(mu, b1, count)
        nu_hat = tree.tree_bias_correction(nu_max, b2, count)
        updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu_hat, nu_hat)
        return updates, AmsgradState(count, mu, nu, nu_max)

    return optax.GradientTransformation(init, update)
