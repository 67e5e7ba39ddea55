"""ASGD: gradient descent that also averages the weights it passes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.complex_weights import chain
from fx.optim.parts import (
    Rate,
    check,
    check_params,
    gradient_links,
    map_leaves,
    with_learning_rate,
)


class ASGDState(NamedTuple):
    """The next step's size, and the average of the weights, with their structure."""

    eta: jax.Array
    ax: Any


def asgd(
    lr: Rate = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Averaged stochastic gradient descent, with a step size that decays.

    The average of the weights stands in the optimizer's state, as `ax`; training goes on from
    the weights themselves.

    Args:
        lr: Learning rate, or a schedule. The step that follows a step with rate r is
            r / (1 + lambd * r * steps) ** alpha long, so a schedule acts one step late.
        lambd: Decay of the weights and of the step size.
        alpha: Power of the step size's decay.
        t0: Steps before averaging starts; until then the average is the weights themselves.
        weight_decay: L2 penalty, added to the gradient.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation. `current_lr` reads `lr`, not the decayed step size, as torch's
        `param_groups` do.

    Raises:
        ValueError: A negative lr or weight_decay; at the update, parameters left out.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> optimizer = asgd(0.5, lambd=0.0)
        >>> _, opt_state = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), jnp.ones(2))
        >>> print(optax.tree_utils.tree_get(opt_state, "ax"))
        [0.5 0.5]

    Source: torch.optim.ASGD; Polyak and Juditsky, Acceleration of stochastic approximation by
    averaging. torch keeps its decaying rate in its default dtype: with float64 parameters and
    float32 as default, 100 steps differ by 1e-9 and more; with float64 as default, by less than
    1e-10.
    """
    check("asgd", lr=lr, weight_decay=weight_decay)

    def init(params: Any, rate: jax.Array) -> ASGDState:
        return ASGDState(jnp.array(rate), optax.tree_utils.tree_zeros_like(params))

    def update(updates: Any, state: ASGDState, params: Any, rate: Any, **extra: Any):
        del extra
        check_params("asgd", params)
        step = rate.count.astype(state.eta.dtype)
        mu = 1 / jnp.maximum(1.0, step - 1 - t0)

        def move(g: jax.Array, p: jax.Array, ax: jax.Array):
            delta = -state.eta.astype(g.dtype) * (g + lambd * p)
            new = p + delta
            # The first average is the weights themselves, to the bit.
            return delta, jnp.where(mu == 1, new, ax + mu.astype(g.dtype) * (new - ax))

        updates, ax = map_leaves(move, 2, updates, params, state.ax)
        eta = rate.learning_rate / (1 + lambd * rate.learning_rate * step) ** alpha
        return updates, ASGDState(eta, ax)

    links = gradient_links(weight_decay, maximize)
    return chain(*links, with_learning_rate(lr, init, update))
