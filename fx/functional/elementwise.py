"""What elementwise functions take: floats alone, or all numbers, wherever their channels lie."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np

from fx.functional.dtypes import accumulate
from fx.functional.layout import pointwise

Others = ParamSpec("Others")
Function = Callable[Concatenate[jax.Array, Others], jax.Array]


def of_floats(function: Function[Others]) -> Function[Others]:
    """An elementwise function that refuses integers, for which torch has none."""
    placed = pointwise(function)

    @functools.wraps(function)
    def wrapped(input: jax.Array, *args: Others.args, **kwargs: Others.kwargs) -> jax.Array:
        accumulate(input, function.__name__)
        args, kwargs = jax.tree.map(_plain, (args, kwargs))
        return placed(input, *args, **kwargs)

    return wrapped


def of_numbers(function: Function[Others]) -> Function[Others]:
    """An elementwise function that refuses what is true or false, as torch does."""
    placed = pointwise(function)

    @functools.wraps(function)
    def wrapped(input: jax.Array, *args: Others.args, **kwargs: Others.kwargs) -> jax.Array:
        if jnp.asarray(input).dtype == jnp.bool_:
            raise TypeError(
                f"{function.__name__}: expected numbers, got bool; convert them with "
                ".astype(jnp.float32)"
            )
        args, kwargs = jax.tree.map(_plain, (args, kwargs))
        return placed(input, *args, **kwargs)

    return wrapped


def floating(input: jax.Array) -> jax.Array:
    """Integers as float32, of which torch makes its default dtype; floats as they are."""
    input = jnp.asarray(input)
    return input if jnp.issubdtype(input.dtype, jnp.inexact) else input.astype(jnp.float32)


def _plain(value):
    """A NumPy scalar would widen float16 and bfloat16, which a Python number does not."""
    return value.item() if isinstance(value, np.generic) else value
