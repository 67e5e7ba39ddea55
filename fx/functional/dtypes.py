"""In which dtype functions accumulate and count, and that arrays share one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def as_array(x: jax.Array, where: str) -> jax.Array:
    """An argument as an array; what `apply` returns with the state, or several outputs, is none.

    Raises:
        TypeError: a dict, or a tuple that holds a dict or a tuple.
    """
    if isinstance(x, dict) or (
        isinstance(x, tuple) and any(isinstance(p, dict | tuple) for p in x)
    ):
        came, todo = f"a {type(x).__name__} of {len(x)}", "take from it what is wanted"
        if isinstance(x, tuple) and len(x) == 2 and isinstance(x[1], dict):
            came = "(outputs, state), as model.apply returns it"
            todo = "write outputs, state = model.apply(params, state, x)"
        raise TypeError(f"{where}: expected an array, got {came}; {todo}")
    return jnp.asarray(x)


def accumulate(x: jax.Array, where: str) -> jax.Array:
    """Widens float16 and bfloat16 to float32, in which sums are taken; wider floats stay.

    Raises:
        TypeError: the array is not of a floating dtype.
    """
    x = as_array(x, where)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"{where}: expected a floating input, got {x.dtype}; "
            "convert it with .astype(jnp.float32)"
        )
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def check_same_dtype(where: str, **arrays: jax.Array | None) -> None:
    """Refuse arrays of another dtype than the first, by their names; None is passed over.

    Raises:
        TypeError: the dtypes differ.
    """
    (first, x), *others = arrays.items()
    expected = jnp.result_type(x)
    for name, array in others:
        if array is not None and jnp.result_type(array) != expected:
            raise TypeError(
                f"{where}: expected {name} of the {first}'s dtype {expected}, got "
                f"{jnp.result_type(array)}; convert one of them"
            )


def wider(*dtypes: jnp.dtype) -> jnp.dtype:
    """What floats of several dtypes give; of two unlike ones at least float32, as in torch.

    By NumPy, because JAX has no common dtype where promotion is strict.
    """
    several = len(set(dtypes)) > 1
    return functools.reduce(
        np.promote_types, dtypes, np.dtype(np.float32) if several else dtypes[0]
    )


def common_float(*arrays: jax.Array) -> jnp.dtype:
    """What arrays of several dtypes give in torch: float32 of integers and booleans alone."""
    floats = [x.dtype for x in arrays if jnp.issubdtype(x.dtype, jnp.floating)]
    return wider(*floats) if floats else np.dtype(np.float32)


def accumulated(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype in which sums of arrays of a floating dtype are taken: 32 bits or more."""
    return np.promote_types(dtype, np.float32)


def promoted(x1: jax.Array, x2: jax.Array, where: str) -> tuple[jax.Array, jax.Array, jnp.dtype]:
    """Two arrays in the dtype that sums are taken in, and what torch makes of their two dtypes.

    Raises:
        TypeError: neither is floating.
    """
    x1, x2 = as_array(x1, where), as_array(x2, where)
    if not any(jnp.issubdtype(x.dtype, jnp.floating) for x in (x1, x2)):
        raise TypeError(
            f"{where}: expected a floating input, got {x1.dtype} and {x2.dtype}; "
            "convert one with .astype(jnp.float32)"
        )
    dtype = common_float(x1, x2)
    return x1.astype(accumulated(dtype)), x2.astype(accumulated(dtype)), dtype


def as_index(x: jax.Array) -> jax.Array:
    """Integers as int32 or int64, so that comparing with -1 or a large count cannot overflow."""
    return x if x.dtype == jnp.int64 else x.astype(jnp.int32)
