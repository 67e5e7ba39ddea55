"""What `apply` is given, as `forward` gets it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def unchanging(inputs: Any) -> Any:
    """NumPy's floats as JAX's arrays, in which `x *= 2` writes nothing.

    Integers stay, for they may be lengths, which are to be known; so do all of them where a program
    is traced, and what is no tuple, list or dict.
    """
    return jax.tree.map(_array, inputs, is_leaf=lambda x: not isinstance(x, tuple | list | dict))


def _array(leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray) or not jnp.issubdtype(leaf.dtype, np.inexact):
        return leaf
    array = jnp.asarray(leaf)
    return leaf if isinstance(array, jax.core.Tracer) else array
