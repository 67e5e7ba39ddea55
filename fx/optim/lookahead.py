"""Lookahead: k steps forward, 1 step back."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.curves import as_steps


class LookaheadState(NamedTuple):
    """What `lookahead` keeps.

    Attributes:
        count: Steps since the weights were last set back, int32 [].
        slow: The slow weights; of the structure, shapes and dtypes of the parameters.
        inner_state: The optimizer's state.
    """

    count: jax.Array
    slow: Any
    inner_state: Any


def lookahead(
    optimizer: optax.GradientTransformation, k: int = 5, alpha: float = 0.5
) -> optax.GradientTransformationExtraArgs:
    """Every `k` steps, go back to a point between where they started and where they led.

    Args:
        optimizer: Any optax transformation, for the fast steps; its state goes on. This one is
            around everything that changes updates.
        k: Steps forward.
        alpha: Share of the way that is kept, in (0, 1].

    Returns:
        An optax transformation. The parameters are the fast weights; after every k-th step, they
        are the slow ones.

    Raises:
        ValueError: k below 1, alpha outside (0, 1]; at update, no params.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from fx import optim
        >>> optimizer, params = lookahead(optim.sgd(1.0), k=2), jnp.zeros(())
        >>> opt_state = optimizer.init(params)
        >>> for _ in range(2):
        ...     updates, opt_state = optimizer.update(jnp.float32(-1), opt_state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> float(params)  # half of two steps
        1.0

    Source: arXiv 1907.08610. `optax.lookahead` is the same with a pair of parameter trees, which a
    training step with one does not fit.
    """
    k = as_steps("lookahead", "k", k)
    if not 0 < alpha <= 1:
        raise ValueError(f"lookahead: expected alpha in (0, 1], got {alpha}")
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> Any:
        # A copy: the same array twice in a training state could not be donated.
        slow = jax.tree.map(jnp.copy, params)
        return LookaheadState(jnp.zeros((), jnp.int32), slow, inner.init(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any):
        if params is None:
            raise ValueError(
                "lookahead: expected the parameters, got None; call "
                "optimizer.update(grads, opt_state, params)"
            )
        updates, inner_state = inner.update(updates, state.inner_state, params, **extra)
        count = state.count + 1
        back = count == k

        def fast(u: jax.Array, slow: jax.Array, p: jax.Array) -> jax.Array:
            middle = slow + alpha * (p + u - slow)
            return jnp.where(back, (middle - p).astype(u.dtype), u)

        updates = jax.tree.map(fast, updates, state.slow, params)
        # What the parameters become, to the bit.
        reached = optax.apply_updates(params, updates)
        slow = jax.tree.map(lambda new, old: jnp.where(back, new, old), reached, state.slow)
        return updates, LookaheadState(jnp.where(back, 0, count), slow, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)
