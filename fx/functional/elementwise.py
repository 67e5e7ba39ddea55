"""What elementwise functions take: floats alone, or all numbers, wherever their channels lie."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np

from fx.functional.dtypes import accumulate, as_array
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
        if as_array(input, function.__name__).dtype == jnp.bool_:
            raise TypeError(
                f"{function.__name__}: expected numbers, got bool; convert them with "
                ".astype(jnp.float32)"
            )
        args, kwargs = jax.tree.map(_plain, (args, kwargs))
        return placed(input, *args, **kwargs)

    return wrapped


def in_float32(function: Function[Others]) -> Function[Others]:
    """An elementwise function whose value and slope of float16 and bfloat16 are float32's, rounded.

    As in torch, and no part of either is rounded before. Slopes are kept in the input's dtype: of
    what value and slope share XLA would keep float32 arrays for the gradient.
    """

    @functools.wraps(function)
    def wrapped(input: jax.Array, *args: Others.args, **kwargs: Others.kwargs) -> jax.Array:
        def of(x):
            return function(x, *args, **kwargs)

        input = as_array(input, function.__name__)
        if not jnp.issubdtype(input.dtype, jnp.floating) or input.dtype.itemsize >= 4:
            return of(input)
        if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((args, kwargs))):
            return of(input.astype(jnp.float32)).astype(input.dtype)
        return rounded(of, input)

    return wrapped


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def rounded(function: Callable[..., jax.Array], *inputs: jax.Array) -> jax.Array:
    """An elementwise function in float32 of arrays of a lower precision, in which slopes are."""
    return function(*(x.astype(jnp.float32) for x in inputs)).astype(inputs[0].dtype)


@rounded.defjvp
def _rounded_jvp(function, primals, tangents):
    wide = [x.astype(jnp.float32) for x in primals]
    change = jnp.zeros_like(primals[0])
    for i, tangent in enumerate(tangents):
        along = [jnp.ones_like(x) if i == j else jnp.zeros_like(x) for j, x in enumerate(wide)]
        _, slope = jax.jvp(function, wide, along)
        change += slope.astype(tangent.dtype) * tangent
    return rounded(function, *primals), change


def floating(input: jax.Array) -> jax.Array:
    """Integers as float32, of which torch makes its default dtype; floats as they are."""
    input = jnp.asarray(input)
    return input if jnp.issubdtype(input.dtype, jnp.inexact) else input.astype(jnp.float32)


def _plain(value):
    """A NumPy scalar would widen float16 and bfloat16, which a Python number does not."""
    return value.item() if isinstance(value, np.generic) else value
