"""What the optimizers share: checks of arguments, what comes first, links that need the rate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.learning_rate import ScaleByLearningRateState, Schedule, scale_by_learning_rate

Rate = float | jax.Array | Schedule


class WithLearningRateState(NamedTuple):
    """What `with_learning_rate` keeps.

    Attributes:
        inner: The link's own state.
        rate: Steps taken and the rate of the last one, where `current_lr` finds it.
    """

    inner: Any
    rate: ScaleByLearningRateState


def with_learning_rate(
    lr: Rate,
    init: Callable[[Any, jax.Array], Any],
    update: Callable[..., tuple[Any, Any]],
) -> optax.GradientTransformationExtraArgs:
    """Make a last link in which the learning rate is more than a factor of the updates.

    Args:
        lr: A number, or a function of the step.
        init: `(params, rate of the first step) -> inner`.
        update: `(updates, inner, params, rate, **extra) -> (updates, inner)`, where
            `rate.learning_rate` is that of this step, and `rate.count` is 1 in the first.

    Returns:
        An optax transformation with the rate in its state.
    """
    tracker = scale_by_learning_rate(lr)

    def first(params: Any) -> WithLearningRateState:
        rate: Any = tracker.init(params)
        return WithLearningRateState(init(params, rate.learning_rate), rate)

    def following(updates: Any, state: Any, params: Any = None, **extra: Any):
        rate = tracker.update((), state.rate)[1]
        updates, inner = update(updates, state.inner, params, rate, **extra)
        return updates, WithLearningRateState(inner, rate)  # type: ignore[arg-type]

    return optax.GradientTransformationExtraArgs(first, following)


def gradient_links(weight_decay: Any, maximize: bool) -> list[optax.GradientTransformation]:
    """Links that come before all others: the sign, and weight decay as an L2 penalty."""
    links = [optax.scale(-1.0)] if maximize else []
    return [*links, optax.add_decayed_weights(weight_decay)] if given(weight_decay) else links


def decay_links(
    weight_decay: Any, maximize: bool, decoupled: bool, moments: optax.GradientTransformation
) -> list[optax.GradientTransformation]:
    """Weight decay before the moments, as an L2 penalty, or after them, apart from them."""
    if not decoupled:
        return [*gradient_links(weight_decay, maximize), moments]
    after = [optax.add_decayed_weights(weight_decay)] if given(weight_decay) else []
    return [*gradient_links(0.0, maximize), moments, *after]


def given(value: Any) -> bool:
    """Whether a number is anything but zero; one that is traced is."""
    return not isinstance(value, int | float) or value != 0


def promoting(link: optax.GradientTransformation) -> optax.GradientTransformation:
    """Let a link of optax raise floats to integer powers, which strict promotion forbids."""

    def update(updates: Any, state: Any, params: Any = None):
        with jax.numpy_dtype_promotion("standard"):
            return link.update(updates, state, params)

    return optax.GradientTransformation(link.init, update)


def map_leaves(function: Callable[..., tuple], count: int, tree: Any, *rest: Any) -> tuple:
    """Map a function that returns `count` values over trees; returns `count` trees."""
    leaves, structure = jax.tree.flatten(tree)
    columns = [leaves, *(structure.flatten_up_to(other) for other in rest)]
    rows = [function(*row) for row in zip(*columns)]
    return tuple(structure.unflatten([row[i] for row in rows]) for i in range(count))


def at_least_float32(dtype: Any) -> Any:
    """The dtype in which to sum and to square what has another one."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


def check(optimizer: str, *, betas: tuple[Any, Any] = (0.0, 0.0), **values: Any) -> None:
    """Raise where a number is negative or none at all, or a beta outside [0, 1)."""
    for name, value in values.items():
        if isinstance(value, str):
            raise TypeError(f"{optimizer}: expected {name} to be a number, got {value!r}")
        if isinstance(value, dict | tuple | list):  # torch takes the parameters first
            raise TypeError(
                f"{optimizer}: expected {name} to be a number{' or a schedule' * (name == 'lr')}, "
                f"got a {type(value).__name__}; parameters come later: "
                f"optimizer = optim.{optimizer}(1e-3); opt_state = optimizer.init(params)"
            )
        if isinstance(value, int | float) and not value >= 0:
            raise ValueError(f"{optimizer}: expected {name} >= 0, got {value}")
    if not all(0 <= beta < 1 for beta in betas if isinstance(beta, int | float)):
        raise ValueError(f"{optimizer}: expected betas in [0, 1), got {betas}")


def check_params(optimizer: str, params: Any) -> None:
    """Raise where the parameters were left out."""
    if params is None:
        raise ValueError(
            f"{optimizer}: expected the parameters, got None; call "
            "optimizer.update(grads, opt_state, params)"
        )
