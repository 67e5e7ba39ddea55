"""The physical layout of spatial functions: channels-last, behind torch's channels-first."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Layout, with_layout_constraint

from fx.functional.dtypes import as_array

Others = ParamSpec("Others")

SPATIAL_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


def to_last(x: jax.Array) -> jax.Array:
    """Moves the channels of [N, C, ...] to the end: [N, ..., C]."""
    return jnp.moveaxis(x, 1, -1)


def to_first(x: jax.Array) -> jax.Array:
    """Moves the channels of [N, ..., C] back: [N, C, ...]."""
    return jnp.moveaxis(x, -1, 1)


def channels_last(
    function: Callable[[jax.Array], Any], input: jax.Array, dims: int, where: str
) -> Any:
    """Runs a channels-last function on a channels-first array, batched or not.

    Every spatial function goes through here, so XLA sees a transpose back and a transpose forth
    between two of them and cancels both.

    Args:
        function: maps [N, *spatial, C] to [N, *spatial', C'], or to several such arrays.
        input: [N, C, *spatial], or [C, *spatial] without a batch.
        dims: the number of spatial axes.
        where: the caller's name, for its error.

    Returns:
        [N, C', *spatial'], without N where the input has none; as many as the function gives.

    Raises:
        ValueError: the input has neither dims + 2 nor dims + 1 axes.
    """
    input = as_array(input, where)
    if input.ndim not in (dims + 1, dims + 2):
        axes = SPATIAL_AXES[dims]
        raise ValueError(
            f"{where}: expected input [N, C, {axes}] or [C, {axes}], got {list(input.shape)}; "
            f"reshape it to {dims + 2} axes"
        )
    batched = input.ndim == dims + 2
    output = jax.tree.map(to_first, function(to_last(input if batched else input[None])))
    return output if batched else jax.tree.map(lambda y: y[0], output)


def pointwise(
    function: Callable[Concatenate[jax.Array, Others], jax.Array],
) -> Callable[Concatenate[jax.Array, Others], jax.Array]:
    """Makes an elementwise function take part in the layout, where its input may be spatial.

    The values do not depend on it. But where a gradient passes from one spatial function through
    an elementwise one to the next, XLA does not always cancel the transposes around it: on a CPU,
    sums over the channels-first form, such as the gradient of BatchNorm's bias, keep that form.
    """

    @functools.wraps(function)
    def wrapped(input: jax.Array, *args: Others.args, **kwargs: Others.kwargs) -> jax.Array:
        input = as_array(input, function.__name__)
        if input.ndim < 4:
            return function(input, *args, **kwargs)
        return to_first(function(to_last(input), *args, **kwargs))

    return wrapped


def as_weights_lie(gradients: Any) -> Any:
    """The same gradients, in memory in the order of their axes, as the weights are.

    A GPU's convolutions give the gradients of weights channels-last, and XLA would rather bring the
    weights and all that the optimizer keeps of them into that order, and back, in every step: two
    kernels for each array, where turning the gradient around is a part of the update's own. On a
    CPU nothing is asked for, nor of arrays with fewer than four axes: asked of the positions of a
    transformer, say, it is activations that XLA turns around.

    Args:
        gradients: a pytree of arrays.
    """
    leaves, tree = jax.tree.flatten(gradients)
    wide = [leaf for leaf in leaves if jnp.ndim(leaf) > 3]
    if not wide:
        return gradients
    ordered = iter(jax.lax.platform_dependent(wide, cpu=lambda x: x, default=_in_order))
    return tree.unflatten([next(ordered) if jnp.ndim(leaf) > 3 else leaf for leaf in leaves])


def _in_order(arrays: list[jax.Array]) -> list[jax.Array]:
    return [with_layout_constraint(x, Layout(tuple(range(x.ndim)))) for x in arrays]


def is_whole(value: object) -> bool:
    """Whether a size is a whole number: Python's, NumPy's or a symbolic one, but no bool."""
    return hasattr(value, "__index__") and not isinstance(value, bool)


def per_axis(value: int | Sequence[int], dims: int, where: str, name: str) -> tuple[int, ...]:
    """Repeats an int once per spatial axis; a tuple must have the right length already.

    A tuple of one counts as an int, as in torch. NumPy's integers become Python's, as which the
    checks of sizes that are known look for.

    Raises:
        TypeError: an element is not an integer, or is true or false.
        ValueError: the tuple has neither one element nor one per spatial axis.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    if not all(map(is_whole, values)):
        raise TypeError(f"{where}: expected {name} an int or a tuple of {dims} ints, got {value!r}")
    values = tuple(int(v) if isinstance(v, np.integer) else v for v in values)
    if len(values) not in (1, dims):
        raise ValueError(
            f"{where}: expected {name} an int or a tuple of {dims} ints, got {value!r}; "
            "give one number per spatial axis"
        )
    return values * dims if len(values) == 1 else values
