"""The convolution of sequences whose channels come last."""

import jax
import jax.numpy as jnp

from fx.functional.conv import conv1d


def conv_tbc(input: jax.Array, weight: jax.Array, bias: jax.Array, pad: int = 0) -> jax.Array:
    """Convolution along time of [T, N, C].

    Args:
        input: [T, N, in], floating.
        weight: [K, in, out].
        bias: [out].
        pad: zeros before the first and after the last step.

    Returns:
        [T + 2 pad - K + 1, N, out].

    Raises:
        ValueError: input, weight or bias has another number of axes, or sizes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> conv_tbc(jnp.ones((5, 2, 3)), jnp.ones((3, 3, 4)), jnp.zeros(4), 1).shape
        (5, 2, 4)
    """
    if (jnp.ndim(input), jnp.ndim(weight), jnp.ndim(bias)) != (3, 3, 1):
        raise ValueError(
            "conv_tbc: expected input [T, N, in], weight [K, in, out] and bias [out], got "
            f"{list(jnp.shape(input))}, {list(jnp.shape(weight))} and {list(jnp.shape(bias))}"
        )
    rows = jnp.transpose(input, (1, 2, 0))  # [N, in, T]
    output = conv1d(rows, jnp.transpose(weight, (2, 1, 0)), bias, padding=pad)
    return jnp.transpose(output, (2, 0, 1))
