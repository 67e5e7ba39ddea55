"""An optimizer's argument as part of its state, so that runs that differ in it share a step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx import optim


class TunableState(NamedTuple):
    """What `tunable` keeps.

    Attributes:
        value: The argument, or a tree of several, each leaf an array [].
        inner: The optimizer's own state.
    """

    value: Any
    inner: Any


def tunable(
    make: Callable[[Any], optax.GradientTransformation], value: Any
) -> optax.GradientTransformationExtraArgs:
    """Make an optimizer that reads an argument from its state, where `value` puts it.

    One step, made with any value, then trains states that were created with others: this is how
    `fit_many` trains several learning rates in one program.

    Args:
        make: `value -> optimizer`, such as `fx.optim.adam`. The value it gets is traced: a number
            that enters arithmetic (a learning rate, a weight decay, a schedule's base rate) will
            do, one that decides what is built (whether there is nesterov) will not.
        value: A number, or a tuple or dictionary of numbers.

    Returns:
        An optax transformation; `fx.optim.current_lr` reads its rate as it does that of the
        optimizer inside.

    Raises:
        ValueError: A value that is not a number, or a tree without any.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import fx
        >>> optimizer = lambda lr: tunable(fx.optim.sgd, lr)
        >>> params = {"w": jnp.ones(2)}
        >>> one = optimizer(0.0)  # whose value is not read, but the state's
        >>> for lr in (0.5, 0.25):
        ...     updates, _ = one.update({"w": jnp.ones(2)}, optimizer(lr).init(params), params)
        ...     print(updates["w"])
        [-0.5 -0.5]
        [-0.25 -0.25]

    Source: `optax.inject_hyperparams`, which puts every number of the signature into the state.
    """
    leaves = jax.tree.leaves(value)
    if not leaves or any(jnp.shape(leaf) != () for leaf in leaves):
        raise ValueError(
            f"tunable: expected value to be a number, or a tree of them, got {value!r}"
        )

    def init(params: Any) -> TunableState:
        arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), value)
        return TunableState(arrays, make(arrays).init(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any):
        inner = optax.with_extra_args_support(make(state.value))
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        return updates, TunableState(state.value, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def with_values(restored: Any, given: Any) -> Any:
    """A restored state, or a tree of them, with the arguments that another one was made with.

    A learning rate is no part of a run, whether it is in the optimizer's state or not.
    """

    def chosen(old: Any, new: Any) -> Any:
        return TunableState(new.value, with_values(old.inner, new.inner)) if _is(old) else old

    return jax.tree.map(chosen, restored, given, is_leaf=_is)


def _is(node: Any) -> bool:
    return isinstance(node, TunableState)


def fixed_rates(ts: Any) -> list[float]:
    """Read the first learning rates of a fresh state, but for those that its step takes from it."""

    def apart(node: Any) -> bool:
        kinds = (TunableState, optim.ScaleByLearningRateState)
        return isinstance(node, kinds) or hasattr(node, "hyperparams")

    nodes = jax.tree.leaves(ts.opt_state, is_leaf=apart)
    rates = [node for node in nodes if isinstance(node, optim.ScaleByLearningRateState)]
    return [float(node.learning_rate) for node in rates if not int(node.count)]
