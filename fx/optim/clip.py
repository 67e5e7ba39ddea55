"""Gradient clipping by norm and by value, with torch's numbers."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax


def clip_grad_norm(
    grads: Any, max_norm: float | jax.Array, norm_type: float = 2.0
) -> tuple[Any, jax.Array]:
    """Scale gradients down so that their norm, over all of them, is at most `max_norm`.

    Args:
        grads: A pytree of gradients.
        max_norm: The largest norm that is left alone.
        norm_type: 1, 2, `math.inf` or any other p > 0.

    Returns:
        The gradients, and the norm that they had, [].

    Raises:
        ValueError: A negative max_norm, or a norm_type that is not above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> clipped, norm = clip_grad_norm({"w": jnp.array([3.0, 4.0])}, max_norm=1.0)
        >>> print(clipped["w"].round(3), norm)
        [0.6 0.8] 5.0

    Source: torch.nn.utils.clip_grad_norm_, with its 1e-6 in the denominator, which
    `optax.clip_by_global_norm` lacks. A norm of inf or nan makes nan of the gradients, as in torch;
    in place of `error_if_nonfinite=True`, which cannot raise in compiled code, look at the norm.
    Norms of float16 and bfloat16 gradients are taken in float32.
    """
    _check("clip_grad_norm", "max_norm", max_norm)
    norm = total_norm(grads, norm_type)
    scale = jnp.minimum(max_norm / (norm + 1e-6), 1.0)
    return jax.tree.map(lambda g: g * scale.astype(g.dtype), grads), norm


def clip_grad_value(grads: Any, clip_value: float) -> Any:
    """Limit every entry of the gradients to `[-clip_value, clip_value]`.

    Args:
        grads: A pytree of gradients.
        clip_value: The largest absolute value that is left alone.

    Returns:
        The gradients.

    Raises:
        ValueError: A negative clip_value.

    Example:
        >>> import jax.numpy as jnp
        >>> print(clip_grad_value({"w": jnp.array([3.0, -0.5])}, 1.0)["w"])
        [ 1.  -0.5]

    Source: torch.nn.utils.clip_grad_value_.
    """
    _check("clip_grad_value", "clip_value", clip_value)
    return jax.tree.map(lambda g: jnp.clip(g, -clip_value, clip_value), grads)


def clip_by_norm(max_norm: float, norm_type: float = 2.0) -> optax.GradientTransformation:
    """`clip_grad_norm` as a link of a chain.

    Args:
        max_norm: The largest norm that is left alone.
        norm_type: 1, 2, `math.inf` or any other p > 0.

    Returns:
        An optax transformation without a state.

    Raises:
        ValueError: A negative max_norm, or a norm_type that is not above 0.

    Example:
        >>> import optax
        >>> from fx import optim
        >>> optimizer = optax.chain(clip_by_norm(1.0), optim.adamw(1e-3))
    """
    _check("clip_by_norm", "max_norm", max_norm)
    _check_norm_type(norm_type)

    def update(updates: Any, state: Any, params: Any = None):
        del params
        return clip_grad_norm(updates, max_norm, norm_type)[0], state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def clip_by_value(clip_value: float) -> optax.GradientTransformation:
    """`clip_grad_value` as a link of a chain.

    Args:
        clip_value: The largest absolute value that is left alone.

    Returns:
        An optax transformation without a state.

    Raises:
        ValueError: A negative clip_value.

    Example:
        >>> import optax
        >>> from fx import optim
        >>> optimizer = optax.chain(clip_by_value(0.5), optim.sgd(0.1))
    """
    _check("clip_by_value", "clip_value", clip_value)
    return optax.clip(clip_value)


def total_norm(tree: Any, norm_type: float) -> jax.Array:
    """The p-norm of all entries, in float32 at least."""
    _check_norm_type(norm_type)
    sizes = [jnp.abs(leaf) for leaf in jax.tree.leaves(tree)]
    if not sizes:
        return jnp.zeros((), jnp.result_type(float))
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(jnp.float32, *sizes)
    sizes = [size.astype(dtype) for size in sizes]
    if norm_type == math.inf:
        return jnp.stack([jnp.max(size, initial=0) for size in sizes]).max()
    # A whole number as an integer: XLA then multiplies instead of taking logarithms.
    p = int(norm_type) if float(norm_type).is_integer() else norm_type
    total = jnp.stack([jnp.sum(size**p) for size in sizes]).sum()
    return jnp.sqrt(total) if p == 2 else total ** (1 / p)


def _check_norm_type(norm_type: float) -> None:
    if not norm_type > 0:
        raise ValueError(f"clip by norm: expected norm_type > 0, got {norm_type}")


def _check(where: str, name: str, value: Any) -> None:
    if isinstance(value, int | float) and not value >= 0:
        raise ValueError(f"{where}: expected {name} >= 0, got {value}")
