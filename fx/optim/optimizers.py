"""torch.optim's optimizers as optax transformations: torch's names, order, defaults and numbers.

Each starts with `lr`, a number or a schedule, and is a chain of small transformations that ends
in `scale_by_learning_rate`. Like every optax optimizer they take gradients to updates:

    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.learning_rate import Schedule, scale_by_learning_rate

Rate = float | jax.Array | Schedule


def sgd(
    lr: Rate = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Stochastic gradient descent, with momentum where asked for.

    Args:
        lr: Learning rate, or a schedule.
        momentum: Share of the last update that stays.
        dampening: Share of the gradient that is left out of the momentum, after the first step.
        weight_decay: L2 penalty, added to the gradient.
        nesterov: Use Nesterov's momentum.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number, or nesterov without momentum or with dampening.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> params = {"w": jnp.ones(2)}
        >>> optimizer = sgd(0.5)
        >>> updates, _ = optimizer.update({"w": jnp.ones(2)}, optimizer.init(params), params)
        >>> print(optax.apply_updates(params, updates)["w"])
        [0.5 0.5]

    Source: torch.optim.SGD.
    """
    _check("sgd", lr=lr, momentum=momentum, weight_decay=weight_decay)
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError(
            "sgd: nesterov=True expected momentum > 0 and dampening == 0, "
            f"got momentum={momentum} and dampening={dampening}"
        )
    links = _before(weight_decay, maximize)
    if momentum and dampening:
        links.append(_dampened_trace(momentum, dampening))
    elif momentum:
        links.append(optax.trace(momentum, nesterov))
    return optax.chain(*links, scale_by_learning_rate(lr))


def adam(
    lr: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam. `weight_decay` is torch's: an L2 penalty, added to the gradient before the moments.

    Args:
        lr: Learning rate, or a schedule.
        betas: Decay of the averages of the gradient and of its square.
        eps: Added to the denominator.
        weight_decay: L2 penalty. For decay apart from the moments, use `adamw`.
        amsgrad: Divide by the largest second moment so far.
        maximize: Climb instead of descend.

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
    _check("adam", lr=lr, eps=eps, weight_decay=weight_decay, betas=betas)
    links = _before(weight_decay, maximize)
    return optax.chain(*links, _adam_moments(betas, eps, amsgrad), scale_by_learning_rate(lr))


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
    _check("adamw", lr=lr, eps=eps, weight_decay=weight_decay, betas=betas)
    links = [*_before(0.0, maximize), _adam_moments(betas, eps, amsgrad)]
    if weight_decay:
        links.append(optax.add_decayed_weights(weight_decay))
    return optax.chain(*links, scale_by_learning_rate(lr))


def rmsprop(
    lr: Rate = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Gradients over the root of their average square.

    Args:
        lr: Learning rate, or a schedule.
        alpha: Decay of the average.
        eps: Added to the root, outside of it.
        weight_decay: L2 penalty, added to the gradient.
        momentum: Share of the last update that stays.
        centered: Divide by the standard deviation instead of the root of the average square.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number.

    Example:
        >>> optimizer = rmsprop(1e-3, momentum=0.9)

    Source: torch.optim.RMSprop, with keyword-only `maximize`. `optax.rmsprop` decays by 0.9 and
    adds eps inside the root.
    """
    _check("rmsprop", lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
    scale = optax.scale_by_stddev if centered else optax.scale_by_rms
    links = [*_before(weight_decay, maximize), scale(alpha, eps, eps_in_sqrt=False)]
    if momentum:
        links.append(optax.trace(momentum))
    return optax.chain(*links, scale_by_learning_rate(lr))


def _before(weight_decay: float, maximize: bool) -> list[optax.GradientTransformation]:
    links = [optax.scale(-1.0)] if maximize else []
    return [*links, optax.add_decayed_weights(weight_decay)] if weight_decay else links


def _adam_moments(betas: tuple[float, float], eps: float, amsgrad: bool):
    scale = _scale_by_amsgrad if amsgrad else optax.scale_by_adam
    init, update = scale(*betas, eps)

    def promoting(updates, state, params=None):
        # optax raises a float to an integer power, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            return update(updates, state, params)

    return optax.GradientTransformation(init, promoting)


class _DampenedTraceState(NamedTuple):
    started: jax.Array
    trace: Any


def _dampened_trace(momentum: float, dampening: float) -> optax.GradientTransformation:
    """Momentum with dampening as torch has it: the first gradient enters undampened."""

    def init(params):
        return _DampenedTraceState(jnp.zeros((), bool), optax.tree_utils.tree_zeros_like(params))

    def update(updates, state, params=None):
        del params
        share = jnp.where(state.started, 1.0 - dampening, 1.0)
        trace = jax.tree.map(
            lambda g, t: momentum * t + share.astype(g.dtype) * g, updates, state.trace
        )
        return trace, _DampenedTraceState(jnp.ones((), bool), trace)

    return optax.GradientTransformation(init, update)


class _AmsgradState(NamedTuple):
    count: jax.Array
    mu: Any
    nu: Any
    nu_max: Any


def _scale_by_amsgrad(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """AMSGrad as torch has it: the maximum comes before the correction of bias (optax: after)."""
    tree = optax.tree_utils

    def init(params):
        zeros = [tree.tree_zeros_like(params) for _ in range(3)]
        return _AmsgradState(jnp.zeros((), jnp.int32), *zeros)

    def update(updates, state, params=None):
        del params
        count = jnp.asarray(optax.safe_increment(state.count))
        mu = tree.tree_update_moment(updates, state.mu, b1, 1)
        nu = tree.tree_update_moment(updates, state.nu, b2, 2)
        nu_max = jax.tree.map(jnp.maximum, state.nu_max, nu)
        mu_hat = tree.tree_bias_correction(mu, b1, count)
        nu_hat = tree.tree_bias_correction(nu_max, b2, count)
        updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu_hat, nu_hat)
        return updates, _AmsgradState(count, mu, nu, nu_max)

    return optax.GradientTransformation(init, update)


def _check(optimizer: str, *, betas: tuple[float, float] = (0.0, 0.0), **values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, int | float) and not value >= 0:
            raise ValueError(f"{optimizer}: expected {name} >= 0, got {value}")
    if not all(0 <= beta < 1 for beta in betas if isinstance(beta, int | float)):
        raise ValueError(f"{optimizer}: expected betas in [0, 1), got {betas}")
