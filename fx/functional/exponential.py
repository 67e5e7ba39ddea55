"""Functions of exponentials whose derivatives, the second ones too, keep their digits.

JAX takes the derivative of expm1 as expm1(x) + 1, 0 where exp(x) is less than rounding, and
that of the sigmoid as s * (1 - s), which is 0 where s is 1 to rounding.
"""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def expm1(x: jax.Array) -> jax.Array:
    """exp(x) - 1."""
    return jnp.expm1(x)


expm1.defjvps(lambda dx, _, x: dx * jnp.exp(x))


@jax.custom_jvp
def softplus(x: jax.Array) -> jax.Array:
    """log(1 + exp(x)), without overflow."""
    return jax.nn.softplus(x)


softplus.defjvps(lambda dx, _, x: dx * _sigmoid(x))


@jax.custom_jvp
def _sigmoid(x: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(x)


_sigmoid.defjvps(lambda dx, s, x: dx * s * _sigmoid(-x))
