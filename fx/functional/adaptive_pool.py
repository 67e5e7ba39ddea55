"""Average and maximum over a given number of parts."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.functional.dtypes import accumulate
from fx.functional.layout import channels_last
from fx.functional.pool import (
    Pooled,
    check_filled,
    first_maximum,
    first_maximum_and_place,
    flat_places,
    lowest,
)

Size = int | Sequence[int | None]
FEW = 32  # so many cells of a part are added one by one; longer parts are a product with weights


def adaptive_avg_pool1d(input: jax.Array, output_size: int | Sequence[int]) -> jax.Array:
    """Average over L' parts of [N, C, L] or [C, L]; arguments as `adaptive_avg_pool2d`."""
    return _adaptive(_mean_parts, input, output_size, 1, "adaptive_avg_pool1d")


def adaptive_avg_pool2d(input: jax.Array, output_size: Size) -> jax.Array:
    """Average over as many parts as are asked for.

    Part i of n covers floor(i * size / n) to ceil((i + 1) * size / n), so parts overlap where n
    does not divide the size; then a NaN in an axis of parts of over 32 spreads to all of them.

    Args:
        input: [N, C, H, W] or [C, H, W], floating; float16 and bfloat16 sum in float32.
        output_size: H' and W', or one number for both; None keeps the input's.

    Returns:
        [N, C, H', W'] or [C, H', W'], the input's dtype.

    Raises:
        TypeError: a size is neither an integer nor None, or the input not floating.
        ValueError: the input has other axes, or a size is below 0.

    Example:
        >>> import jax.numpy as jnp
        >>> adaptive_avg_pool2d(jnp.ones((8, 64, 7, 5)), (1, None)).shape
        (8, 64, 1, 5)
    """
    return _adaptive(_mean_parts, input, output_size, 2, "adaptive_avg_pool2d")


def adaptive_avg_pool3d(input: jax.Array, output_size: Size) -> jax.Array:
    """Average over parts of [N, C, D, H, W] or [C, D, H, W]; as `adaptive_avg_pool2d`."""
    return _adaptive(_mean_parts, input, output_size, 3, "adaptive_avg_pool3d")


def adaptive_max_pool1d(
    input: jax.Array, output_size: int | Sequence[int], return_indices: bool = False
) -> Pooled:
    """Maximum over L' parts of [N, C, L] or [C, L]; arguments as `adaptive_max_pool2d`."""
    return _adaptive_max(input, output_size, return_indices, 1)


def adaptive_max_pool2d(
    input: jax.Array, output_size: Size, return_indices: bool = False
) -> Pooled:
    """Maximum over as many parts as are asked for; sizes as in `adaptive_avg_pool2d`.

    Args:
        input: [N, C, H, W] or [C, H, W].
        output_size: H' and W', or one number for both; None keeps the input's.
        return_indices: whether to say where the maxima stand.

    Returns:
        [N, C, H', W'] or [C, H', W'], the input's dtype; with return_indices a pair of it and of
        the maxima's places, y * W + x, in the same shape.

    Raises:
        TypeError: a size is neither an integer nor None.
        ValueError: the input has other axes, or a size is below 0.
    """
    return _adaptive_max(input, output_size, return_indices, 2)


def adaptive_max_pool3d(
    input: jax.Array, output_size: Size, return_indices: bool = False
) -> Pooled:
    """Maximum over parts of [N, C, D, H, W] or [C, D, H, W]; as `adaptive_max_pool2d`."""
    return _adaptive_max(input, output_size, return_indices, 3)


def _adaptive(reduce_parts, input, output_size, dims, where):
    sizes = _sizes(output_size, dims, where)

    def pool(x):  # [N, *spatial, C]
        check_filled(x, where, channels_too=dims == 3 or reduce_parts is _max_parts)
        dtype = x.dtype
        for axis in reversed(range(1, dims + 1)):
            parts = sizes[axis - 1]
            if parts == 0:
                x = jax.lax.slice_in_dim(x, 0, 0, axis=axis)
            elif parts is not None and parts != x.shape[axis]:
                x = reduce_parts(x, axis, parts, where)
        return x.astype(dtype)

    return channels_last(pool, input, dims, where)


def _adaptive_max(input, output_size, return_indices, dims):
    where = f"adaptive_max_pool{dims}d"
    if not return_indices:
        return _adaptive(_max_parts, input, output_size, dims, where)
    sizes = _sizes(output_size, dims, where)

    def pool(x):  # [N, *spatial, C]
        check_filled(x, where)
        places = flat_places(x)
        for axis in reversed(range(1, dims + 1)):
            parts = sizes[axis - 1]
            if parts == 0:
                x, places = (jax.lax.slice_in_dim(a, 0, 0, axis=axis) for a in (x, places))
            elif parts is not None and parts != x.shape[axis]:
                candidates, at = _parts(x, axis, parts), _parts(places, axis, parts)
                x, places = first_maximum_and_place(candidates, at)
        return x, jnp.broadcast_to(places, x.shape)

    return channels_last(pool, input, dims, where)


def _sizes(output_size, dims, where):
    sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * dims
    # torch takes None for one of several axes, and not for all of them at once.
    none_is_fine = dims > 1 and output_size is not None
    if not all(hasattr(s, "__index__") or (s is None and none_is_fine) for s in sizes):
        kinds = "ints or None" if dims > 1 else "one int"
        raise TypeError(
            f"{where}: expected output_size of {kinds}, got {output_size!r}; give one for each axis"
        )
    if len(sizes) != dims or any(s is not None and s < 0 for s in sizes):
        raise ValueError(
            f"{where}: expected output_size one number of 0 or more for each of {dims} axes, "
            f"got {output_size!r}"
        )
    return sizes


def _bounds(size, parts):
    xp: Any = np if isinstance(size, int) else jnp  # an export may leave the size open
    starts = xp.arange(parts) * size // parts
    ends = -(-(xp.arange(1, parts + 1) * size) // parts)
    return starts, ends


def _longest(size, parts):
    starts, ends = _bounds(size, parts)
    return int((ends - starts).max())


def _inside(size, parts):
    """Which cells are of which part: [parts, size]."""
    starts, ends = _bounds(size, parts)
    cells = (np if isinstance(size, int) else jnp).arange(size)
    return (starts[:, None] <= cells) & (cells < ends[:, None])


def _mean_parts(x, axis, parts, where):
    x = accumulate(x, where)
    size = x.shape[axis]
    if size % parts == 0:
        shape = (*x.shape[:axis], parts, size // parts, *x.shape[axis + 1 :])
        return x.reshape(shape).mean(axis + 1)  # [..., parts, size / parts, ...]
    few = isinstance(size, int) and _longest(size, parts) <= FEW
    return (_mean_of_cells if few else _mean_by_product)(x, axis, parts)


def _mean_by_product(x, axis, parts):
    inside = _inside(x.shape[axis], parts)
    count = inside.sum(1, keepdims=True).astype(x.dtype)
    weights = jnp.asarray(inside.astype(x.dtype) / count)
    # An average in TensorFloat-32 would lose half of its digits.
    y = jnp.tensordot(x, weights, axes=((axis,), (1,)), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(y, -1, axis)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _mean_of_cells(x, axis, parts):
    starts, ends = _bounds(x.shape[axis], parts)
    ones = (1,) * (x.ndim - axis - 1)
    total = jnp.zeros((), x.dtype)
    for k, cell in enumerate(_parts(x, axis, parts)):
        fits = (starts + k < ends).reshape(-1, *ones)
        total = total + (cell if fits.all() else jnp.where(fits, cell, 0))
    return total / jnp.asarray((ends - starts).reshape(-1, *ones), x.dtype)


@_mean_of_cells.defjvp
def _mean_of_cells_jvp(axis, parts, primals, tangents):
    """The product's gradient is faster: that of cells that are taken is added one by one."""
    (x,), (dx,) = primals, tangents
    return _mean_of_cells(x, axis, parts), _mean_by_product(dx, axis, parts)


def _max_parts(x, axis, parts, where):
    size = x.shape[axis]
    if not isinstance(size, int):  # no telling how many cells a part has
        inside = jnp.expand_dims(_inside(size, parts), tuple(range(2, x.ndim - axis + 1)))
        return jnp.where(inside, jnp.expand_dims(x, axis), lowest(x.dtype)).max(axis + 1)
    return first_maximum(_parts(x, axis, parts))


def _parts(x, axis, parts):
    """The parts' first cells, their second ones, and so on."""
    starts, ends = _bounds(x.shape[axis], parts)
    # Shorter parts repeat their last cell, which changes no maximum.
    cells = [np.minimum(starts + k, ends - 1) for k in range(_longest(x.shape[axis], parts))]
    return [jnp.take(x, cell, axis=axis) for cell in cells]
