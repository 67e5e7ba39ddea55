"""Sharpness-aware minimisation: the gradient a small way uphill, applied here."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fx.optim.clip import total_norm
from fx.optim.complex_weights import uphill
from fx.optim.groups import check_whole


def sam(
    optimizer: optax.GradientTransformation, rho: float = 0.05, adaptive: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Update with the gradient at the worst point near by, so that minima come out flat.

    Each step needs two gradients: the one given, and one at `params + rho * grads / norm(grads)`.
    `fx.train.make_step` gives what is needed; by hand, pass `grad_fn`:

        optimizer.update(grads, opt_state, params, grad_fn=jax.grad(loss))

    Args:
        optimizer: Any optax transformation; it gets the second gradient. Clipping goes inside:
            `sam(optax.chain(clip_by_norm(1.0), sgd(0.1)))`.
        rho: How far uphill.
        adaptive: Measure the distance relative to each weight (ASAM); rho is then larger, 2 say.

    Returns:
        An optax transformation with the state of `optimizer`. The model's state (running
        statistics) is that of the first gradient.

    Raises:
        ValueError: A negative rho; at update, no params or no grad_fn; at init, the parameters of
            one group only.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import optax
        >>> from fx import optim
        >>> loss = lambda params: jnp.sum(params**2)
        >>> optimizer, params = sam(optim.sgd(0.25), rho=1.0), jnp.array([1.0])
        >>> grads, opt_state = jax.grad(loss)(params), optimizer.init(params)
        >>> updates, opt_state = optimizer.update(
        ...     grads, opt_state, params, grad_fn=jax.grad(loss)
        ... )
        >>> print(optax.apply_updates(params, updates))  # 1 - 0.25 * the gradient at 2
        [0.]

    Source: arXiv 2010.01412 and, adaptive, 2102.11600; numbers as in the common torch version
    (davda54/sam), whose norm gets 1e-12. `optax.contrib.sam` with opaque_mode=True is the same
    without adaptive, and makes nan of gradients that are zero.
    """
    if not rho >= 0:
        raise ValueError(f"sam: expected rho >= 0, got {rho}")
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> Any:
        check_whole("sam", params)
        return inner.init(params)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        grad_fn: Callable[[Any], Any] | None = None,
        **extra: Any,
    ):
        if params is None or grad_fn is None:
            raise ValueError(
                "sam: expected params and grad_fn, the gradient as a function of the parameters; "
                "fx.train.make_step gives them; by hand: optimizer.update(grads, opt_state, "
                "params, grad_fn=jax.grad(loss))"
            )
        grads = grad_fn(_uphill(params, updates, rho, adaptive))
        return inner.update(grads, state, params, grad_fn=grad_fn, **extra)

    return optax.GradientTransformationExtraArgs(init, update)


def _uphill(params: Any, grads: Any, rho: float, adaptive: bool) -> Any:
    def weighted(p: jax.Array, g: jax.Array) -> jax.Array:
        return jnp.abs(p) * g if adaptive else g

    grads = uphill(grads)
    norm = total_norm(jax.tree.map(weighted, params, grads), 2)
    scale = rho / (norm + 1e-12)

    def move(p: jax.Array, g: jax.Array) -> jax.Array:
        return p + scale.astype(p.dtype) * weighted(p, weighted(p, g)).astype(p.dtype)

    return jax.tree.map(move, params, grads)
