"""ReduceLROnPlateau: a learning rate that falls when a metric stops improving."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from fx.optim.learning_rate import ScaledRatesState, current_lr


class Rule(NamedTuple):
    """The arguments of `reduce_lr_on_plateau`."""

    mode: str
    factor: float
    patience: int
    threshold: float
    threshold_mode: str
    cooldown: int
    min_lr: float
    eps: float


@struct.dataclass
class ReduceLROnPlateauState:
    """What `reduce_lr_on_plateau` keeps.

    Attributes:
        best: The best metric so far, [].
        num_bad_epochs: Observations since, int32 [].
        cooldown_counter: Observations that still do not count, int32 [].
        scaled: The optimizer's state, and the factor of its learning rate.
        rule: When to reduce; not an array.
    """

    best: jax.Array
    num_bad_epochs: jax.Array
    cooldown_counter: jax.Array
    scaled: ScaledRatesState
    rule: Rule = struct.field(pytree_node=False)


def reduce_lr_on_plateau(
    optimizer: optax.GradientTransformation,
    mode: str = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
    eps: float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Multiply an optimizer's learning rate by a factor each time a metric stops improving.

    The metric comes in between the steps: `opt_state = observe(opt_state, value)`, once per epoch.

    Args:
        optimizer: Any optax transformation whose updates are in proportion to its learning rate,
            with or without a schedule.
        mode: "min": lower is better. "max": higher is.
        factor: Of each reduction; below 1.
        patience: Observations without improvement that are let pass.
        threshold: How much better counts as an improvement.
        threshold_mode: "rel": a share of the best. "abs": a difference.
        cooldown: Observations after a reduction that do not count.
        min_lr: Lowest learning rate.
        eps: Smaller reductions are not made.

    Returns:
        An optax transformation. The rate that `current_lr` reads from its state includes the
        factor.

    Raises:
        ValueError: factor not in [0, 1), an unknown mode or threshold_mode; at init, a min_lr for
            an optimizer whose state keeps no learning rate.
        TypeError: min_lr is not one number.

    Example:
        >>> import jax.numpy as jnp
        >>> import fx
        >>> optimizer = reduce_lr_on_plateau(fx.optim.sgd(0.5), factor=0.5, patience=1)
        >>> opt_state = optimizer.init({"w": jnp.ones(2)})
        >>> for loss in (1.0, 0.9, 0.9, 0.9):
        ...     opt_state = observe(opt_state, loss)
        >>> float(fx.optim.current_lr(opt_state))
        0.25

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau. Around `groups` it is one factor for all,
    and min_lr and eps look at the first group's rate; for torch's list of min_lr, put it around
    the optimizer of each group: `observe` reaches them all. Where the state keeps no rate, as with
    plain optax optimizers, eps counts from a rate of 1.
    """
    rule = _checked(mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> Any:
        scaled = ScaledRatesState(jnp.ones((), jnp.result_type(float)), inner.init(params))
        if min_lr > 0 and current_lr(scaled.inner_state) is None:
            raise ValueError(
                "reduce_lr_on_plateau: min_lr expected an optimizer whose state keeps its learning "
                "rate, got one that does not; use one of fx.optim, or optax.inject_hyperparams"
            )
        best = jnp.full((), jnp.inf if mode == "min" else -jnp.inf, jnp.result_type(float))
        zero, other = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        return ReduceLROnPlateauState(best, zero, other, scaled, rule)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        factor = state.scaled.factor
        updates, inner_state = inner.update(updates, state.scaled.inner_state, params, **extra)
        updates = jax.tree.map(lambda u: u * factor.astype(u.dtype), updates)
        return updates, state.replace(scaled=ScaledRatesState(factor, inner_state))

    return optax.GradientTransformationExtraArgs(init, update)


def observe(opt_state: Any, value: Any) -> Any:
    """Tell every `reduce_lr_on_plateau` in an optimizer's state the metric that it watches.

    Args:
        opt_state: The state of any optimizer; one without a plateau comes back as it is.
        value: The metric, a scalar; once per epoch, that of the validation, say.

    Returns:
        The new state, of the same structure. Pure: it may be jitted, and vmapped over several
        states and metrics.

    Raises:
        ValueError: The metric is not a scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> import fx
        >>> optimizer = fx.optim.reduce_lr_on_plateau(fx.optim.adam(0.5), patience=0, factor=0.5)
        >>> opt_state = observe(observe(optimizer.init(jnp.ones(2)), 1.0), 2.0)
        >>> float(fx.optim.current_lr(opt_state))
        0.25

    Source: `scheduler.step(metrics)` of torch's ReduceLROnPlateau.
    """
    if jnp.shape(value) != ():
        raise ValueError(
            f"observe: expected the metric as a scalar, got shape {list(jnp.shape(value))}; "
            "take the mean, or jax.vmap over states and metrics"
        )

    def advance(node: Any) -> Any:
        return _advance(node, value) if isinstance(node, ReduceLROnPlateauState) else node

    return jax.tree.map(advance, opt_state, is_leaf=lambda n: isinstance(n, ReduceLROnPlateauState))


def has_plateau(opt_state: Any) -> bool:
    """Whether a `reduce_lr_on_plateau` is anywhere in an optimizer's state.

    Example:
        >>> import fx
        >>> has_plateau(fx.optim.sgd(0.1).init({"w": jnp.ones(2)}))
        False
    """
    return bool(plateau_modes(opt_state))


def plateau_modes(opt_state: Any) -> set[str]:
    """The modes, "min" and "max", of every `reduce_lr_on_plateau` in an optimizer's state.

    Example:
        >>> import fx
        >>> optimizer = fx.optim.reduce_lr_on_plateau(fx.optim.sgd(0.1), mode="max")
        >>> plateau_modes(optimizer.init({"w": jnp.ones(2)}))
        {'max'}
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda n: isinstance(n, ReduceLROnPlateauState))
    plateaus = [node for node in nodes if isinstance(node, ReduceLROnPlateauState)]
    inner = (plateau_modes(plateau.scaled.inner_state) for plateau in plateaus)
    return {plateau.rule.mode for plateau in plateaus}.union(*inner)


def _advance(state: ReduceLROnPlateauState, value: Any) -> ReduceLROnPlateauState:
    rule = state.rule
    value = jnp.asarray(value, state.best.dtype)
    better = _is_better(rule, value, state.best)
    cooling = state.cooldown_counter > 0
    bad = jnp.where(better | cooling, 0, state.num_bad_epochs + 1)
    reduces = bad > rule.patience
    counter = state.cooldown_counter - cooling.astype(jnp.int32)
    inner = observe(state.scaled.inner_state, value)
    factor = state.scaled.factor
    return ReduceLROnPlateauState(
        best=jnp.where(better, value, state.best),
        num_bad_epochs=jnp.where(reduces, 0, bad),
        cooldown_counter=jnp.where(reduces, rule.cooldown, counter),
        scaled=ScaledRatesState(jnp.where(reduces, _reduced(rule, factor, inner), factor), inner),
        rule=rule,
    )


def _is_better(rule: Rule, value: jax.Array, best: jax.Array) -> jax.Array:
    sign = -1 if rule.mode == "min" else 1
    if rule.threshold_mode == "rel":
        bound = best * (1 + sign * rule.threshold)
    else:
        bound = best + sign * rule.threshold
    return value < bound if rule.mode == "min" else value > bound


def _reduced(rule: Rule, factor: jax.Array, inner_state: Any) -> jax.Array:
    rate = current_lr(inner_state)
    rate = jnp.ones_like(factor) if rate is None else rate.astype(factor.dtype)
    new = jnp.maximum(factor * rule.factor, rule.min_lr / rate)
    return jnp.where(rate * factor - rate * new > rule.eps, new, factor)


def _checked(
    mode: str,
    factor: float,
    patience: int,
    threshold: float,
    threshold_mode: str,
    cooldown: int,
    min_lr: float,
    eps: float,
) -> Rule:
    where = "reduce_lr_on_plateau"
    if not 0 <= factor < 1:
        raise ValueError(f"{where}: expected factor in [0, 1), got {factor}")
    if mode not in ("min", "max"):
        raise ValueError(f'{where}: expected mode "min" or "max", got {mode!r}')
    if threshold_mode not in ("rel", "abs"):
        raise ValueError(f'{where}: expected threshold_mode "rel" or "abs", got {threshold_mode!r}')
    if isinstance(min_lr, list | tuple):
        raise TypeError(
            f"{where}: expected min_lr as one number, got a {type(min_lr).__name__}; for one per "
            "group, put reduce_lr_on_plateau around the optimizer of each group"
        )
    return Rule(mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)
