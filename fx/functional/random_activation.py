"""Activation functions that draw random numbers: they take `key`, which torch does not have."""

import jax
import jax.numpy as jnp

from fx.functional.activation import leaky_relu, softmax
from fx.functional.dtypes import accumulate


def rrelu(
    input: jax.Array,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Leaky ReLU with a random slope for each element when training, their mean otherwise.

    Args:
        input: [...], floating.
        lower: the least slope.
        upper: the largest slope.
        training: False takes (lower + upper) / 2.
        inplace: accepted, no effect.
        key: a PRNG key; needed when training and lower < upper.

    Returns:
        [...], the input's dtype.

    Raises:
        TypeError: the input is not floating.
        ValueError: lower is greater than upper, or the key is missing.

    Example:
        >>> import jax.numpy as jnp
        >>> rrelu(jnp.array([-8.0, 2.0]), 0.0, 0.25).tolist()
        [-1.0, 2.0]
    """
    if not lower <= upper:
        raise ValueError(f"rrelu: expected lower <= upper, got {lower} and {upper}")
    x = accumulate(input, "rrelu")
    if not training or lower == upper:
        return leaky_relu(jnp.asarray(input), (lower + upper) / 2)
    # float32 with x64 too: the draw must not depend on that flag.
    draw = jax.random.uniform(_needed(key, "rrelu"), x.shape, jnp.float32)
    slope = (lower + (upper - lower) * draw).astype(x.dtype)
    return jnp.where(x > 0, x, slope * x).astype(jnp.asarray(input).dtype)


def gumbel_softmax(
    logits: jax.Array,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Samples of a softened categorical distribution, differentiable to the logits.

    Args:
        logits: [...], log-probabilities, which need not be normalised.
        tau: the temperature, positive; near 0 the samples are near to one-hot.
        hard: give one-hot samples, with the gradient of the soft ones.
        eps: accepted, no effect, as in torch.
        dim: the axis of the classes.
        key: a PRNG key.

    Returns:
        [...], the logits' dtype; sums to 1 along dim.

    Raises:
        TypeError: the logits are not floating.
        ValueError: the key is missing, or dim is not an axis.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> gumbel_softmax(jnp.array([0.0, 50.0]), hard=True, key=jax.random.key(0)).tolist()
        [0.0, 1.0]
    """
    x = accumulate(logits, "gumbel_softmax")
    key = _needed(key, "gumbel_softmax")
    noise = jax.random.gumbel(key, x.shape, jnp.float32).astype(x.dtype)
    soft = softmax((x + noise) / tau, dim)
    if hard:
        chosen = jnp.ones_like(soft)  # of a scalar the only one there is
        if soft.ndim:
            chosen = jax.nn.one_hot(jnp.argmax(soft, dim), soft.shape[dim], dtype=x.dtype, axis=dim)
        soft = chosen - jax.lax.stop_gradient(soft) + soft
    return soft.astype(jnp.asarray(logits).dtype)


def _needed(key, where):
    if key is None:
        raise ValueError(
            f"{where}: expected a PRNG key, got None; in forward pass key=self.next_key(), "
            "elsewhere a fresh key for every step"
        )
    return key
