"""An optimizer's update of a training state, from gradients that somebody has computed."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fx import optim
from fx.train.checks import check_optimizer, check_same, check_updates, named_leaves
from fx.train.state import TrainState, check_transformation


def apply_gradients(
    ts: TrainState,
    optimizer: optax.GradientTransformation,
    grads: Any,
    *,
    state: Any = None,
    **extra: Any,
) -> TrainState:
    """Take one step with gradients of one's own: torch's `optimizer.step()`.

    For a step that `make_step` does not write: several networks with an optimizer each, gradients
    that are clipped for each example, that come from several losses, or from no loss at all. It is
    a pure function, to be called within `jax.jit`, `jax.lax.scan` or `jax.vmap`.

    Args:
        ts: The training state of one network; each has its own, from `train.create`.
        optimizer: The one whose state `ts.opt_state` is.
        grads: A tree as `ts.params`, from `jax.grad` by them.
        state: The model's new state, as `apply` returned it; None leaves `ts.state`.
        extra: What an optimizer wants beside gradients: `value_fn=loss` of `optim.lbfgs`,
            `grad_fn=jax.grad(loss)` of `optim.sam`, `value=` of what looks at the loss. Those that
            it does not take are left out.

    Returns:
        The next training state, its `step` one higher; `key` stays.

    Raises:
        TypeError: `ts` is no training state, or `optimizer` no optax transformation.
        ValueError: Gradients of another structure or other shapes than the parameters, or with the
            loss beside them; a state of the model that changes structure, shape or dtype; an
            `opt_state` of another optimizer.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import fx
        >>> model, optimizer = fx.nn.Linear(1, 1, bias=False), fx.optim.sgd(0.25)
        >>> ts = fx.train.create(model, optimizer, jax.random.key(0))
        >>> def loss_fn(params):
        ...     y, _ = model.apply(params, ts.state, jnp.ones((1, 1)))
        ...     return jnp.sum((y - 3) ** 2)
        >>> for _ in range(20):
        ...     loss, grads = jax.value_and_grad(loss_fn)(ts.params)
        ...     ts = fx.train.apply_gradients(ts, optimizer, grads)
        >>> int(ts.step), round(ts.params["weight"].item(), 3)
        (20, 3.0)

    Source: torch.optim.Optimizer.step; named as `apply_gradients` of Flax's TrainState.
    """
    if not isinstance(ts, TrainState):
        raise TypeError(
            f"apply_gradients: expected a training state, got {type(ts).__name__}; make one for "
            "each network with train.create(model, optimizer, key)"
        )
    check_transformation("apply_gradients", optimizer)
    check_optimizer(optimizer, ts, "apply_gradients", "optimizer")
    _check_gradients(ts.params, grads)
    if state is not None:
        check_same("the model's state", ts.state, state, "apply_gradients")
    grads = optim.without_frozen(grads, ts.opt_state)
    params, opt_state = updated(ts, optimizer, grads, extra)
    state = ts.state if state is None else state
    return dataclasses.replace(
        ts, step=ts.step + 1, params=params, state=state, opt_state=opt_state
    )


def updated(
    ts: TrainState, optimizer: optax.GradientTransformation, grads: Any, extra: dict[str, Any]
) -> tuple[Any, Any]:
    """The new parameters and the optimizer's new state; of `extra`, it gets what it takes."""
    update = optax.with_extra_args_support(optimizer).update
    # Optimizers of optax mix floats and integers, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = update(grads, ts.opt_state, ts.params, **_taken(update, extra))
        check_updates(ts.params, updates)
        params = optax.apply_updates(ts.params, updates)
    check_same("the parameters", ts.params, params)
    return params, opt_state


def _taken(update: Callable, extra: dict[str, Any]) -> dict[str, Any]:
    """Those of the extra arguments that an optimizer's update has a place for."""
    places = inspect.signature(update).parameters
    if any(place.kind is place.VAR_KEYWORD for place in places.values()):
        return extra
    return {name: value for name, value in extra.items() if name in places}


def _check_gradients(params: Any, grads: Any) -> None:
    own, came = named_leaves(params), named_leaves(grads)
    if isinstance(grads, tuple) and not isinstance(params, tuple):
        raise ValueError(
            f"apply_gradients: expected the gradients alone, got a tuple of {len(grads)}; "
            "jax.value_and_grad gives (loss, grads), and with has_aux=True jax.grad (grads, aux)"
        )
    faults = [f"{name} is missing" for name in own if name not in came]
    faults += [f"{name} is no parameter" for name in came if name not in own]
    faults += [
        f"{name} is {list(jnp.shape(came[name]))} and the parameter {list(jnp.shape(own[name]))}"
        for name in own
        if name in came and jnp.shape(came[name]) != jnp.shape(own[name])
    ]
    if faults:
        raise ValueError(
            f"apply_gradients: expected gradients by ts.params, but {'; '.join(faults[:6])}; "
            "take them by the parameters of this state, jax.grad(loss)(ts.params)"
        )
