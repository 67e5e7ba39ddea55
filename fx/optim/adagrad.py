"""Adagrad and Adadelta: steps by the sum, or the average, of squared gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.complex_weights import chain
from fx.optim.learning_rate import scale_by_learning_rate
from fx.optim.parts import Rate, check, given, gradient_links


def adagrad(
    lr: Rate = 1e-2,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Gradients over the root of the sum of all their squares so far.

    Args:
        lr: Learning rate, or a schedule.
        lr_decay: Divide the step by 1 + lr_decay * (steps before); `current_lr` reads `lr`.
        weight_decay: L2 penalty, added to the gradient.
        initial_accumulator_value: Start of the sum.
        eps: Added to the root, outside of it.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number.

    Example:
        >>> optimizer = adagrad(1e-2, lr_decay=1e-4)

    Source: torch.optim.Adagrad. `optax.adagrad` adds eps inside the root.
    """
    check(
        "adagrad",
        lr=lr,
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value,
        eps=eps,
    )
    links = gradient_links(weight_decay, maximize)
    links.append(_scale_by_sum(initial_accumulator_value, eps))
    if given(lr_decay):
        links.append(optax.scale_by_schedule(lambda count: _decayed(lr_decay, count)))
    return chain(*links, scale_by_learning_rate(lr))


def adadelta(
    lr: Rate = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Gradients times the root of the average squared update over that of the gradient.

    Args:
        lr: Learning rate, or a schedule.
        rho: Decay of both averages.
        eps: Added to both averages, inside the roots.
        weight_decay: L2 penalty, added to the gradient.
        maximize: Climb instead of descend.

    Returns:
        An optax transformation.

    Raises:
        ValueError: A negative number, or rho above 1.

    Example:
        >>> optimizer = adadelta(rho=0.95)

    Source: torch.optim.Adadelta (arXiv 1212.5701).
    """
    check("adadelta", lr=lr, eps=eps, weight_decay=weight_decay)
    if isinstance(rho, int | float) and not 0 <= rho <= 1:
        raise ValueError(f"adadelta: expected rho in [0, 1], got {rho}")
    links = [*gradient_links(weight_decay, maximize), optax.scale_by_adadelta(rho, eps)]
    return chain(*links, scale_by_learning_rate(lr))


class AdagradState(NamedTuple):
    """The sum of squared gradients, with the structure of the parameters."""

    sum: Any


def _scale_by_sum(initial: float, eps: float) -> optax.GradientTransformation:
    def init(params: Any) -> AdagradState:
        return AdagradState(jax.tree.map(lambda p: jnp.full_like(p, initial), params))

    def update(updates: Any, state: Any, params: Any = None):
        del params
        total = jax.tree.map(lambda g, s: s + g * g, updates, state.sum)
        updates = jax.tree.map(lambda g, s: g / (jnp.sqrt(s) + eps), updates, total)
        return updates, AdagradState(total)

    return optax.GradientTransformation(init, update)


def _decayed(lr_decay: float, count: Any) -> jax.Array:
    return 1 / (1 + lr_decay * jnp.asarray(count, jnp.result_type(float)))
