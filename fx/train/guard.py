"""What keeps a bad step from doing harm: dynamic loss scaling, and a stop at the first bad step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

INIT_SCALE = 2.0**16
GROWTH_INTERVAL = 2000
"""torch.amp.GradScaler's defaults: double after so many good steps, halve after a bad one."""


class GuardState(NamedTuple):
    """What `guarded` keeps beside the optimizer's own state.

    Attributes:
        inner: The optimizer's state.
        applied: Whether the last update was applied, bool [].
        failed: Whether a step was bad for good, bool []; from then on nothing changes any more.
        scale: What the loss is multiplied with, float32 []; 1 without loss scaling.
        good_steps: Steps in a row since the scale last changed, int32 [].
    """

    inner: Any
    applied: jax.Array
    failed: jax.Array
    scale: jax.Array
    good_steps: jax.Array


def guarded(
    optimizer: optax.GradientTransformation, *, scaled: bool, stops: bool
) -> optax.GradientTransformationExtraArgs:
    """Skip an optimizer's update where loss or gradients are not finite.

    Args:
        optimizer: Any optax transformation.
        scaled: Dynamic loss scaling: halve the scale at a bad step and leave the step out, double
            it after 2000 good ones. Gradients come in divided by the scale.
        stops: A bad step is the last one: nothing changes afterwards. With `scaled`, gradients
            that overflow are the scale's affair; bad is a loss that is not finite, or gradients
            that overflow at a scale below 1.

    Returns:
        An optax transformation. `value=` is the loss; without it, gradients alone are judged. It
        gives updates of zero where it skips; `skip_or_take` then keeps the rest of a training
        state as well.

    Source: torch.amp.GradScaler, with its defaults.
    """
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> GuardState:
        scale = jnp.asarray(INIT_SCALE if scaled else 1.0, jnp.float32)
        no, yes = jnp.asarray(False), jnp.asarray(True)
        return GuardState(inner.init(params), yes, no, scale, jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None, *, value: Any = 0.0, **extra: Any):
        sound_loss = jnp.all(jnp.isfinite(value))
        new, inner_state = inner.update(updates, state.inner, params, value=value, **extra)
        # The updates too: SAM takes another gradient on the way to them.
        sound = all_finite(updates) & all_finite(new) & sound_loss
        applied = sound & ~state.failed
        new = jax.tree.map(lambda leaf: jnp.where(applied, leaf, jnp.zeros_like(leaf)), new)
        inner_state = skip_or_take(applied, state.inner, inner_state)
        scale, good_steps = _rescale(state, sound) if scaled else (state.scale, state.good_steps)
        bad = (~sound_loss | (scale < 1)) if scaled else ~sound
        failed = state.failed | bad if stops else state.failed
        return new, GuardState(inner_state, applied, failed, scale, good_steps)

    return optax.GradientTransformationExtraArgs(init, update)


def has_failed(opt_state: Any) -> jax.Array | None:
    """Whether a step was bad for good, bool []; None where nothing watches for it."""
    return opt_state.failed if isinstance(opt_state, GuardState) else None


def all_finite(tree: Any) -> jax.Array:
    """Whether every number of a tree is finite, bool []."""
    found = jnp.asarray(True)
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            found = found & jnp.all(jnp.isfinite(leaf))
    return found


def skip_or_take(take: jax.Array, old: Any, new: Any) -> Any:
    """Return `new` where `take`, else `old`, leaf by leaf, to the bit."""
    return jax.tree.map(lambda was, now: jnp.where(take, now, was), old, new)


def _rescale(state: GuardState, sound: jax.Array) -> tuple[jax.Array, jax.Array]:
    good = jnp.where(sound, state.good_steps + 1, 0)
    grown = (good >= GROWTH_INTERVAL) & jnp.isfinite(state.scale * 2)
    scale = jnp.where(sound, jnp.where(grown, state.scale * 2, state.scale), state.scale / 2)
    return scale, jnp.where(grown, 0, good)
