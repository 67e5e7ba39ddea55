"""What the layers check alike: torch's `device` argument, sizes, and the kind of an input."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fx.functional.dtypes import as_array
from fx.functional.layout import is_whole
from fx.nn.module import Module, where


def no_device(module: Module, device: Any) -> None:
    """Refuse torch's `device`: a description holds no arrays that could be somewhere.

    Raises:
        ValueError: `device` is not None.
    """
    if device is not None:
        raise ValueError(
            f"{type(module).__name__}: expected device=None, got {device!r}; a description holds "
            "no arrays: place those that init returns, jax.device_put(params, device)"
        )


def positive(module: Module, least: int = 1, **sizes: Any) -> None:
    """Refuse sizes that a layer cannot have.

    Raises:
        TypeError: a size is not an integer.
        ValueError: a size is below the least.
    """
    for name, value in sizes.items():
        if not is_whole(value):
            raise TypeError(f"{type(module).__name__}: expected {name} an int, got {value!r}")
        if value < least:
            raise ValueError(
                f"{type(module).__name__}: expected {name} of {least} or more, got {value}"
            )


def per_axis(
    module: Module, dims: int, name: str, value: Any, one_for_all: bool = False
) -> tuple[int, ...]:
    """A number for every spatial axis, as torch keeps them: 3 becomes (3, 3).

    Args:
        module: for the error.
        dims: how many spatial axes.
        name: of the argument, for the error.
        value: a number, or a sequence of them.
        one_for_all: whether a sequence of one counts as a number: torch's convolutions take it so,
            but for kernel_size.

    Raises:
        ValueError: neither a number nor one number per axis.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * dims
    if one_for_all and len(values) == 1:
        values *= dims
    if len(values) != dims or not all(map(is_whole, values)):
        raise ValueError(
            f"{type(module).__name__}: expected {name} an int or {dims} ints, got {value!r}"
        )
    return values


def of_dtype(module: Module, input: Any, dtype: Any) -> jax.Array:
    """The input as an array of the dtype that the layer's weights have.

    Raises:
        TypeError: it has another dtype.
    """
    input = as_array(input, where(module))
    if input.dtype == dtype:
        return input
    if jnp.issubdtype(input.dtype, jnp.floating):
        mend = f"convert the input, x.astype(jnp.{dtype}), or the params"
    elif input.ndim > 2 and input.dtype == jnp.uint8:
        mend = "convert images with fx.data.transforms.ToTensor, which scales them to [0, 1] too"
    else:
        mend = f"convert it with x.astype(jnp.{dtype})"
    raise TypeError(f"{where(module)}: expected {dtype} input, got {input.dtype}; {mend}")


def shape_error(module: Module, expected: str, input: Any, mend: str) -> ValueError:
    """The error of an input of the wrong shape: where, expected, got, what to do."""
    got = list(jnp.shape(input))
    return ValueError(f"{where(module)}: expected input {expected}, got {got}; {mend}")
