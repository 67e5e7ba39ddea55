"""One training step as a pure function: augmentation, gradients, update, and what is reported."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fx import optim
from fx.data.batch import split_batch, targets_of, transformed
from fx.debug.diagnostics import gradient_norms, update_ratios
from fx.train.checks import Metrics
from fx.train.guard import skip_or_take
from fx.train.state import TrainState
from fx.train.update import updated


@dataclasses.dataclass(frozen=True)
class OneStep:
    """`(ts, batch) -> (ts, metrics)` with the options of `make_step`, not compiled.

    Attributes:
        optimizer: With what the options keep in its state.
        gradient: From `make_gradient`.
        scaled: The optimizer is `guarded`, with a scaled loss.
        stops: The optimizer is `guarded`, and stops at the first bad step.
    """

    optimizer: optax.GradientTransformation
    gradient: Callable[..., tuple[Any, Any, Metrics]]
    _: dataclasses.KW_ONLY
    transform: Callable[[Any, jax.Array], Any] | None
    clip_norm: float | None
    clip_value: float | None
    scaled: bool
    stops: bool
    diagnostics: bool
    lr: optim.Schedule | float | None

    def __call__(self, ts: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        """Take the step."""
        inputs, targets = split_batch(batch)
        augment_key, model_key = jax.random.split(jax.random.fold_in(ts.key, ts.step))
        inputs, targets = transformed(self.transform, inputs, targets, augment_key)
        targets = targets_of(inputs, targets)

        def gradient_at(params: Any, scale: Any = None) -> tuple[Any, Any, Metrics]:
            found = self.gradient(params, ts.state, inputs, targets, model_key, scale)
            return optim.without_frozen(found[0], ts.opt_state), *found[1:]

        grads, state, report = gradient_at(ts.params, self._scale(ts))
        clipped, norm = self._clip(grads)
        params, opt_state = self._update(ts, clipped, report["loss"], gradient_at)
        new = dataclasses.replace(
            ts, step=ts.step + 1, params=params, state=state, opt_state=opt_state
        )
        report |= {} if norm is None else {"grad_norm": norm}
        report |= self._diagnose(ts, new, grads) | self._rate(ts, new)
        if self.stops:
            report["finite"] = ~opt_state.failed
        if self.scaled:
            report |= {"loss_scale": opt_state.scale, "skipped": ~opt_state.applied}
        return (_keep(ts, new) if self.scaled or self.stops else new), report

    def _scale(self, ts: TrainState) -> jax.Array | None:
        return ts.opt_state.scale if self.scaled else None

    def _clip(self, grads: Any) -> tuple[Any, jax.Array | None]:
        if self.clip_value is not None:
            grads = optim.clip_grad_value(grads, self.clip_value)
        if self.clip_norm is None:
            return grads, None
        return optim.clip_grad_norm(grads, self.clip_norm)

    def _update(
        self, ts: TrainState, grads: Any, loss: jax.Array, gradient_at: Callable
    ) -> tuple[Any, Any]:
        # Some optimizers need the loss, or the loss (a line search, an estimate of the Hessian) or
        # gradient (sharpness-aware minimisation) at other parameters.
        def value_fn(params: Any, grad_fn: Any = None, obj_fn: Any = None) -> jax.Array:
            del grad_fn, obj_fn  # optax's line searches want all extra arguments to be value_fn's
            return gradient_at(params)[2]["loss"]

        def grad_fn(params: Any, step: Any = None) -> Any:  # scaled and clipped as the first one is
            del step  # optax's numbers the gradients of one update
            return self._clip(gradient_at(params, self._scale(ts))[0])[0]

        extra = {"value": loss, "grad": grads, "value_fn": value_fn, "grad_fn": grad_fn}
        return updated(ts, self.optimizer, grads, extra | {"obj_fn": value_fn})

    def _diagnose(self, ts: TrainState, new: TrainState, grads: Any) -> Metrics:
        if not self.diagnostics:
            return {}
        moved = jax.tree.map(jnp.subtract, new.params, ts.params)
        ratios = update_ratios(ts.params, moved)
        return _prefixed("gradient_norm", gradient_norms(grads)) | _prefixed("update_ratio", ratios)

    def _rate(self, ts: TrainState, new: TrainState) -> Metrics:
        rates: dict[str, Any] = rates_in(new.opt_state)
        if not rates and self.lr is not None:
            rates = {"learning_rate": self.lr(ts.step) if callable(self.lr) else self.lr}
        return {name: jnp.asarray(rate, jnp.result_type(float)) for name, rate in rates.items()}


def rates_in(opt_state: Any) -> Metrics:
    """The learning rates of an optimizer's state as metrics: the first, and that of each group.

    Whether groups have the same one is not known while the step is traced, so each is reported.
    """
    first, groups = optim.current_lr(opt_state), optim.current_lrs(opt_state)
    rates = {} if first is None else {"learning_rate": first}
    if len(groups) > 1:
        rates |= _prefixed("learning_rate", groups)
    return rates


def _keep(ts: TrainState, new: TrainState) -> TrainState:
    """Leave a step out where `guarded` left its update out."""
    guard = new.opt_state
    params, state = skip_or_take(guard.applied, (ts.params, ts.state), (new.params, new.state))
    step = jnp.where(guard.failed, ts.step, new.step)
    return dataclasses.replace(new, step=step, params=params, state=state)


def _prefixed(prefix: str, values: dict[str, jax.Array]) -> Metrics:
    return {f"{prefix}/{name}": value for name, value in values.items()}
