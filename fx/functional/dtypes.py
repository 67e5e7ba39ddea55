"""In which dtype functions accumulate and count."""

import jax
import jax.numpy as jnp


def accumulate(x: jax.Array, where: str) -> jax.Array:
    """Widens float16 and bfloat16 to float32, in which sums are taken; wider floats stay.

    Raises:
        TypeError: the array is not of a floating dtype.
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"{where}: expected a floating input, got {x.dtype}; "
            "convert it with .astype(jnp.float32)"
        )
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def as_index(x: jax.Array) -> jax.Array:
    """Integers as int32 or int64, so that comparing with -1 or a large count cannot overflow."""
    return x if x.dtype == jnp.int64 else x.astype(jnp.int32)
