"""Rprop: a step size for each weight, from the signs of its gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.complex_weights import chain
from fx.optim.parts import Rate, check, gradient_links, map_leaves, with_learning_rate


class RpropState(NamedTuple):
    """The gradient before, 0 where it had just changed sign, and each weight's step size."""

    prev: Any
    step_size: Any


def rprop(
    lr: Rate = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50.0),
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Resilient propagation: weights move by their own step sizes, whatever the gradient's size.

    For whole data sets rather than small batches: the sign of a noisy gradient says little.

    Args:
        lr: Step size at the start, or a schedule; only its first value has an effect.
        etas: Factors of a step size where the gradient's sign changed, and where it stayed.
        step_sizes: Smallest and largest step size.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation. `current_lr` reads `lr`, not the step sizes, as torch's
        `param_groups` do.

    Raises:
        ValueError: A negative lr, or etas that are not 0 < etas[0] < 1 < etas[1].

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = rprop(0.5)
        >>> updates, _ = optimizer.update(jnp.asarray([3.0, -7.0]), optimizer.init(jnp.ones(2)))
        >>> print(updates)
        [-0.5  0.5]

    Source: torch.optim.Rprop. `optax.rprop` makes each move one step late.
    """
    check("rprop", lr=lr)
    if not 0 < etas[0] < 1 < etas[1]:
        raise ValueError(f"rprop: expected 0 < etas[0] < 1 < etas[1], got {etas}")

    def init(params: Any, rate: jax.Array) -> RpropState:
        sizes = jax.tree.map(lambda p: jnp.full_like(p, rate), params)
        return RpropState(optax.tree_utils.tree_zeros_like(params), sizes)

    def move(g: jax.Array, prev: jax.Array, size: jax.Array):
        sign = jnp.sign(g * prev)
        factor = jnp.where(sign > 0, etas[1], jnp.where(sign < 0, etas[0], 1.0))
        size = jnp.clip(size * factor.astype(size.dtype), *step_sizes)
        g = jnp.where(sign < 0, jnp.zeros_like(g), g)
        return -jnp.sign(g) * size, g, size

    def update(updates: Any, state: RpropState, params: Any, rate: Any, **extra: Any):
        del params, rate, extra
        updates, prev, size = map_leaves(move, 3, updates, state.prev, state.step_size)
        return updates, RpropState(prev, size)

    return chain(*gradient_links(0.0, maximize), with_learning_rate(lr, init, update))
