"""The last link of every optimizer: the learning rate, kept where it can be read."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.nn.spelled import ASKS_FOR_VALUES
from fx.optim.groups import DEFAULT, GroupsState

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


class ScaledRatesState(NamedTuple):
    """A state inside of which every learning rate counts `factor` times.

    Attributes:
        factor: Of the learning rates, [].
        inner_state: The state of an optimizer.
    """

    factor: jax.Array
    inner_state: Any


def scale_by_learning_rate(lr: float | jax.Array | Schedule) -> optax.GradientTransformation:
    """Multiply updates by minus the learning rate, and keep the rate in the state.

    Args:
        lr: A number, or a function of the step.

    Returns:
        An optax transformation; `current_lr` reads the rate from its state. Its `init` raises
        ValueError where the first rate is below 0, as far as that is known while it is traced;
        a step raises TypeError where the function asks for the step's value.

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
            return jnp.asarray(_value(lr, count), jnp.result_type(float))

    def init(params: Any) -> ScaleByLearningRateState:
        del params
        count = jnp.zeros((), jnp.int32)
        rate = at(count)
        if not isinstance(rate, jax.core.Tracer) and not rate.min() >= 0:  # nor nan
            raise ValueError(f"learning rate: expected 0 or more, got {rate} at the first step")
        return ScaleByLearningRateState(count, rate)

    def update(updates: Any, state: Any, params: Any = None):
        del params
        rate = at(state.count)
        updates = jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates)
        count = jnp.asarray(optax.safe_increment(state.count))
        return updates, ScaleByLearningRateState(count, rate)

    return optax.GradientTransformation(init, update)


def _value(lr: Any, count: jax.Array) -> Any:
    if not callable(lr):
        return lr
    try:
        return lr(count)
    except ASKS_FOR_VALUES as error:
        raise TypeError(
            f"learning rate: expected {lr!r} to be traceable, but it asks for the step's value "
            "(`if`, `min`, `math`, NumPy), which is not known while the step is compiled; write "
            "jnp.where(step < 10, a, b), jnp.minimum(step / 10, 1), jnp.cos, or take a schedule of "
            "fx.optim"
        ) from error


def current_lr(opt_state: Any) -> jax.Array | None:
    """Read the learning rate of the step taken last from an optimizer's state.

    Args:
        opt_state: The state of any optimizer of `fx.optim`, or of one wrapped in
            `optax.inject_hyperparams`, alone or inside of other optax transformations.

    Returns:
        A scalar, times the factor of a `reduce_lr_on_plateau` around it; of the first group where
        there are several (torch's `param_groups[0]["lr"]`). None where the state keeps no rate, as
        those of plain optax optimizers do not.

    Example:
        >>> import jax.numpy as jnp
        >>> import fx
        >>> float(current_lr(fx.optim.sgd(0.5).init({"w": jnp.ones(2)})))
        0.5
    """
    found = _rates(opt_state)
    return found[0][1] if found else None


def current_lrs(opt_state: Any) -> dict[str, jax.Array]:
    """Read the learning rates of all parameter groups.

    Args:
        opt_state: As for `current_lr`.

    Returns:
        Scalars by the name of their group: its patterns, and "default". Groups without a rate,
        frozen ones for instance, are left out. An optimizer without groups is one, "default".

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import optim
        >>> optimizer = optim.groups({"*.bias": optim.sgd(0.5)}, default=optim.adam(0.25))
        >>> opt_state = optimizer.init({"fc": {"weight": jnp.ones(2), "bias": jnp.ones(2)}})
        >>> {name: float(rate) for name, rate in current_lrs(opt_state).items()}
        {'*.bias': 0.5, 'default': 0.25}
    """
    rates: dict[str, jax.Array] = {}
    for name, rate in _rates(opt_state):
        rates.setdefault(name, rate)
    return rates


def _rates(opt_state: Any) -> list[tuple[str, jax.Array]]:
    """Every rate in a state, with the name of its group, in order."""
    found: list[tuple[str, jax.Array]] = []
    for node in jax.tree.leaves(opt_state, is_leaf=_keeps_rates):
        if isinstance(node, ScaleByLearningRateState):
            found.append((DEFAULT, node.learning_rate))
        elif isinstance(node, ScaledRatesState):
            inner = _rates(node.inner_state)
            found += [(name, rate * node.factor.astype(rate.dtype)) for name, rate in inner]
        elif isinstance(node, GroupsState):
            for name, inner in zip(node.names, node.inner_states):
                found += [(name, rate) for _, rate in _rates(inner)]
        elif _keeps_rates(node):
            found.append((DEFAULT, node.hyperparams["learning_rate"]))
    return found


def _keeps_rates(node: Any) -> bool:
    # By the kind of state: a model may have a parameter called learning_rate.
    kinds = (ScaleByLearningRateState, ScaledRatesState, GroupsState)
    injected = isinstance(node, tuple) and "learning_rate" in getattr(node, "hyperparams", {})
    return isinstance(node, kinds) or injected
