"""Values that XLA is to compute once and keep."""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def computed_once(x: jax.Array) -> jax.Array:
    """The same values; where a gradient is taken, XLA's CPU backend keeps them for all readers.

    It computes what is cheap again in each that reads it. The gradient of a convolution's weight
    reads the convolution's input transposed, with strides through all of memory, and computing
    that input on the way costs several times the transpose. What has two arrays as operands is not
    computed again; hence a choice between x and x, whose outcome XLA does not know.

    Args:
        x: [...].
    """
    return x


@computed_once.defjvp
def _computed_once_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    if jnp.issubdtype(x.dtype, jnp.floating):
        x = jax.lax.platform_dependent(x, cpu=_chosen, default=_same)
    return x, dx


def _chosen(x):
    return jnp.where(x != x, jnp.nan, x)


def _same(x):
    return x
