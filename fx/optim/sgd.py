"""Stochastic gradient descent, plain and with momentum."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.complex_weights import chain
from fx.optim.learning_rate import scale_by_learning_rate
from fx.optim.parts import Rate, check, given, gradient_links


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

    Numbers may be traced, so `optax.inject_hyperparams` schedules the others as well:
    `optax.inject_hyperparams(sgd)(lr=schedule, momentum=one_cycle_momentum(...))`.

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
    check("sgd", lr=lr, momentum=momentum, weight_decay=weight_decay)
    if nesterov and (not given(momentum) or given(dampening)):
        raise ValueError(
            "sgd: nesterov=True expected momentum > 0 and dampening == 0, "
            f"got momentum={momentum} and dampening={dampening}"
        )
    links = gradient_links(weight_decay, maximize)
    if given(momentum) and given(dampening):
        links.append(_dampened_trace(momentum, dampening))
    elif given(momentum):
        links.append(optax.trace(momentum, nesterov))
    return chain(*links, scale_by_learning_rate(lr))


class DampenedTraceState(NamedTuple):
    """Momentum of `sgd` with dampening, and whether a first gradient has entered it."""

    started: jax.Array
    trace: Any


def _dampened_trace(momentum: float, dampening: float) -> optax.GradientTransformation:
    """Momentum with dampening as torch has it: the first gradient enters undampened."""

    def init(params: Any) -> DampenedTraceState:
        return DampenedTraceState(jnp.zeros((), bool), optax.tree_utils.tree_zeros_like(params))

    def update(updates: Any, state: Any, params: Any = None):
        del params
        share = jnp.where(state.started, 1.0 - dampening, 1.0)
        trace = jax.tree.map(
            lambda g, t: momentum * t + share.astype(g.dtype) * g, updates, state.trace
        )
        return trace, DampenedTraceState(jnp.ones((), bool), trace)

    return optax.GradientTransformation(init, update)
