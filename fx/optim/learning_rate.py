"""The last link of every optimizer: the learning rate, kept where it can be read."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[Any], jax.Array]
"""A learning rate as a pure function of the step (0, 1, 2, ...), traceable."""


class ScaleByLearningRateState(NamedTuple):
    """What `scale_by_learning_rate` keeps.

    Attributes:
        count: Steps taken so far, int32 [].
        learning_rate: That of the step taken last; before the first step, that of the first; [].
    """

    count: jax.Array
    learning_rate: jax.Array


def scale_by_learning_rate(lr: float | jax.Array | Schedule) -> optax.GradientTransformation:
    """Multiply updates by minus the learning rate, and keep the rate in the state.

    Args:
        lr: A number, or a function of the step.

    Returns:
        An optax transformation; `current_lr` reads the rate from its state.

    Example:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_learning_rate(lambda step: 0.5 / (step + 1))
        >>> state = tx.init(jnp.ones(2))
        >>> updates, state = tx.update(jnp.ones(2), state)
        >>> updates, state = tx.update(jnp.ones(2), state)
        >>> float(updates[0]), float(state.learning_rate), int(state.count)
        (-0.25, 0.25, 2)

    Source: `optax.scale_by_learning_rate`, whose state does not hold the rate.
    """

    def at(count: jax.Array) -> jax.Array:
        # optax's schedules mix floats and integers, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            return jnp.asarray(lr(count) if callable(lr) else lr, jnp.result_type(float))

    def init(params: Any) -> ScaleByLearningRateState:
        del params
        count = jnp.zeros((), jnp.int32)
        return ScaleByLearningRateState(count, at(count))

    def update(updates: Any, state: Any, params: Any = None):
        del params
        rate = at(state.count)
        updates = jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates)
        count = jnp.asarray(optax.safe_increment(state.count))
        return updates, ScaleByLearningRateState(count, rate)

    return optax.GradientTransformation(init, update)


def current_lr(opt_state: Any) -> jax.Array | None:
    """Read the learning rate of the step taken last from an optimizer's state.

    Args:
        opt_state: The state of any optimizer of `fx.optim`, or of one wrapped in
            `optax.inject_hyperparams`, alone or inside of other optax transformations.

    Returns:
        A scalar, of the first group where there are several (torch's `param_groups[0]["lr"]`);
        None where the state keeps no rate, as those of plain optax optimizers do not.

    Example:
        >>> import jax.numpy as jnp
        >>> import fx
        >>> float(current_lr(fx.optim.sgd(0.5).init({"w": jnp.ones(2)})))
        0.5
    """
    found = optax.tree_utils.tree_get_all_with_path(opt_state, "learning_rate", _is_rate)
    return found[0][1] if found else None


def _is_rate(path: tuple, value: Any) -> bool:
    # A model may have a parameter called learning_rate, and moments carry the parameters' names.
    entry = path[-1]
    if isinstance(entry, optax.tree_utils.NamedTupleKey):
        return entry.tuple_name == ScaleByLearningRateState.__name__
    before = path[-2] if len(path) > 1 else None
    return isinstance(before, optax.tree_utils.NamedTupleKey) and before.name == "hyperparams"
