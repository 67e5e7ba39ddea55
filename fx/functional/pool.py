"""Maximum and average over windows.

Maxima are taken over strided slices, one for each cell of a window: XLA fuses them, derivatives of
any order and batching are those of slices, and the gradient of `reduce_window` takes several times
as long on CPU. As windows are boxes, they can be taken axis by axis.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.functional.dtypes import accumulate
from fx.functional.layout import channels_last, per_axis

Size = int | Sequence[int]
Pooled = Any  # an array; with return_indices a pair of it and of its indices


def max_pool1d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pooled:
    """Maximum over windows of [N, C, L] or [C, L]; arguments as `max_pool2d`."""
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(input, window, return_indices, 1)


def max_pool2d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pooled:
    """Maximum over windows.

    The gradient goes to the first maximum of a window in row-major order, and NaN wins, as in torch
    (`jnp.max` would split the gradient between equal maxima).

    Args:
        input: [N, C, H, W] or [C, H, W].
        kernel_size: of the window; a number, or one per axis.
        stride: of the window; None is kernel_size.
        padding: cells of minus infinity on both sides, at most half of kernel_size.
        dilation: distance between the window's cells.
        ceil_mode: a last window that starts inside the padded input but ends outside counts.
        return_indices: whether to say where the maxima stand, as `max_unpool2d` wants it.

    Returns:
        [N, C, H', W'] or [C, H', W'], the input's dtype; with return_indices a pair of it and of
        the maxima's places, y * W + x, in the same shape.

    Raises:
        TypeError: a size is not an integer, or the input is bool.
        ValueError: the input has other axes; a size is out of range; no window fits.

    Example:
        >>> import jax.numpy as jnp
        >>> max_pool2d(jnp.arange(16.0).reshape(1, 4, 4), 2).tolist()
        [[[5.0, 7.0], [13.0, 15.0]]]
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(input, window, return_indices, 2)


def max_pool3d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pooled:
    """Maximum over windows of [N, C, D, H, W] or [C, D, H, W]; arguments as `max_pool2d`."""
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(input, window, return_indices, 3)


def avg_pool1d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> jax.Array:
    """Average over windows of [N, C, L] or [C, L]; arguments as `avg_pool2d`."""
    return _avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, None, 1)


def avg_pool2d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> jax.Array:
    """Average over windows.

    Args:
        input: [N, C, H, W] or [C, H, W], floating; float16 and bfloat16 sum in float32.
        kernel_size: of the window; a number, or one per axis.
        stride: of the window; None is kernel_size.
        padding: zeros on both sides, at most half of kernel_size.
        ceil_mode: a last window that starts inside the padded input but ends outside counts; what
            is outside the padding is not part of its size.
        count_include_pad: whether padding counts in a window's size.
        divisor_override: what to divide the sums by in place of the window's size.

    Returns:
        [N, C, H', W'] or [C, H', W'], the input's dtype; of integers the quotient rounded to 0.

    Raises:
        TypeError: a size is not an integer, or the input neither floating nor int32 or int64.
        ValueError: the input has other axes; a size is out of range; no window fits.

    Example:
        >>> import jax.numpy as jnp
        >>> avg_pool2d(jnp.arange(16.0).reshape(1, 4, 4), 2).tolist()
        [[[2.5, 4.5], [10.5, 12.5]]]
    """
    return _avg_pool(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 2
    )


def avg_pool3d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> jax.Array:
    """Average over windows of [N, C, D, H, W] or [C, D, H, W]; arguments as `avg_pool2d`."""
    return _avg_pool(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 3
    )


def check_filled(x: jax.Array, where: str, channels_too: bool = True) -> None:
    """Refuse an input [N, *spatial, C] with nothing in it but for a batch of none, as torch does.

    Raises:
        ValueError: an axis other than the batch's, and with channels_too=False the channels', has
            length 0.
    """
    _, *spatial, channels = x.shape
    check_axes(channels, spatial, where, channels_too)


def check_axes(
    channels: int, spatial: Sequence[int], where: str, channels_too: bool = True
) -> None:
    """`check_filled` of the axes' lengths, a symbolic one of which counts as filled."""
    if any(isinstance(n, int) and n == 0 for n in (*spatial, *[channels] * channels_too)):
        raise ValueError(
            f"{where}: expected every axis but the batch's of 1 or more, got {channels} channels "
            f"of {spatial}"
        )


def _max_pool(input, window, return_indices, dims):
    kernel_size, stride, padding, dilation, ceil_mode = window
    where = f"max_pool{dims}d"
    windows = _windows(kernel_size, stride, padding, dilation, dims, where)
    kernel, steps = [w[0] for w in windows], [w[1] for w in windows]
    # A few cells with strides run fastest at once, many or overlapping ones axis by axis: then the
    # last axis goes first, so that the first of equal maxima is the first in row-major order.
    at_once = min(steps) > 1 and math.prod(kernel) <= 16
    passes = [range(dims)] if at_once else [[axis] for axis in reversed(range(dims))]

    def pool(x):  # [N, *spatial, C]
        check_filled(x, where)
        if x.dtype == jnp.bool_:
            raise TypeError(f"{where}: expected an input of numbers, got bool; convert it")
        places = flat_places(x) if return_indices else None
        for axes in passes:
            counts = {}
            for axis in axes:
                k, step, pad, gap = windows[axis]
                count = _count(x.shape[axis + 1], k, step, pad, gap, ceil_mode, where)
                length = (count - 1) * step + gap * (k - 1) + 1
                x = _fit(x, axis + 1, lowest(x.dtype), pad, length)
                if places is not None:
                    places = _fit(places, axis + 1, -1, pad, length)
                counts[axis + 1] = (k, step, gap, count)
            if places is None:
                x = first_maximum(_cells(x, counts))
            else:
                x, places = first_maximum_and_place(_cells(x, counts), _cells(places, counts))
        return x if places is None else (x, places)

    return channels_last(pool, input, dims, where)


def first_maximum(candidates: Sequence[jax.Array]) -> jax.Array:
    """The elementwise maximum, whose gradient goes to the first of equal ones; NaN wins.

    Args:
        candidates: arrays of one shape and dtype.
    """
    best, *others = candidates
    for other in others:
        best = jnp.where((other > best) | (other != other), other, best)
    return best


def first_maximum_and_place(
    candidates: Sequence[jax.Array], places: Sequence[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """`first_maximum`, and the place of what won.

    Args:
        candidates: arrays of one shape and dtype.
        places: integers for each that broadcast to its shape; negative ones, of padding, lose.
    """
    best, place = candidates[0], jnp.broadcast_to(places[0], candidates[0].shape)
    for other, at in zip(candidates[1:], places[1:]):
        better = (other > best) | (other != other) | (place < 0)
        best, place = jnp.where(better, other, best), jnp.where(better, at, place)
    return best, place


def flat_places(x: jax.Array) -> jax.Array:
    """Every pixel's number in row-major order, [1, *spatial, 1] for x [N, *spatial, C]."""
    spatial = x.shape[1:-1]
    return jnp.arange(math.prod(spatial)).reshape(1, *spatial, 1)


def _avg_pool(input, kernel_size, stride, padding, ceil_mode, include_pad, divisor, dims):
    where = f"avg_pool{dims}d"
    if divisor == 0:
        raise ValueError(f"{where}: expected divisor_override other than 0, got 0")
    if divisor is not None and not hasattr(divisor, "__index__"):
        raise TypeError(f"{where}: expected divisor_override an int, got {divisor!r}")
    windows = _windows(kernel_size, stride, padding, 1, dims, where)

    def pool(x):  # [N, *spatial, C]
        check_filled(x, where)
        if dims == 3:  # where torch lets no padding help
            _check_room(x.shape[1:-1], [window[0] for window in windows], where)
        dtype, whole = x.dtype, x.dtype in (jnp.int32, jnp.int64)
        x, total = x if whole else accumulate(x, where), divisor or 1
        for axis, (kernel, step, pad, _) in enumerate(windows, start=1):
            size = x.shape[axis]
            count = _count(size, kernel, step, pad, 1, ceil_mode, where)
            x = _fit(x, axis, 0, pad, (count - 1) * step + kernel)
            if step == kernel:
                x = jax.lax.slice_in_dim(x, 0, count * kernel, axis=axis)
                x = x.reshape(*x.shape[:axis], count, kernel, *x.shape[axis + 1 :])
                x = x.sum(axis + 1, dtype=x.dtype)
            else:
                x = functools.reduce(jnp.add, _cells(x, {axis: (kernel, step, 1, count)}))
            if divisor is None:
                sizes = kernel  # of every window, unless some reach over an end
                if ceil_mode or (pad and not include_pad):
                    sizes = _along(_sizes(size, kernel, step, pad, count, include_pad), axis, x)
                x, total = (x, total * sizes) if whole else (x / sizes, 1)
        if whole:
            return jax.lax.div(x, jnp.broadcast_to(jnp.asarray(total, dtype), x.shape))
        return (x if divisor is None else x / divisor).astype(dtype)

    return channels_last(pool, input, dims, where)


def _check_room(spatial, kernel, where):
    if any(isinstance(n, int) and n < k for n, k in zip(spatial, kernel)):
        raise ValueError(
            f"{where}: expected kernel_size of at most the input's {list(spatial)}, got {kernel}"
        )


def _windows(kernel_size, stride, padding, dilation, dims, where):
    """(kernel, stride, padding, dilation) for every axis."""
    kernel = per_axis(kernel_size, dims, where, "kernel_size")
    stride = kernel if stride is None else per_axis(stride, dims, where, "stride")
    padding = per_axis(padding, dims, where, "padding")
    dilation = per_axis(dilation, dims, where, "dilation")
    if min(kernel + stride + dilation) < 1:
        raise ValueError(
            f"{where}: expected kernel_size, stride and dilation of 1 or more, got kernel_size "
            f"{kernel}, stride {stride}, dilation {dilation}"
        )
    if not all(0 <= p <= k // 2 for p, k in zip(padding, kernel)):
        raise ValueError(
            f"{where}: expected padding of at most half of kernel_size {kernel}, got {padding}; "
            "more would make windows of padding alone"
        )
    return list(zip(kernel, stride, padding, dilation))


def _count(size, kernel, stride, pad, dilation, ceil_mode, where):
    """How many windows fit along an axis."""
    room = size + 2 * pad - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    # A window that would start in the padding behind the input has nothing to see there.
    if ceil_mode and (count - 1) * stride >= size + pad:
        count -= 1
    if count < 1:
        raise ValueError(
            f"{where}: expected a window no larger than the padded input, got a window of "
            f"{dilation * (kernel - 1) + 1} on {size + 2 * pad}; use a larger input or a smaller "
            "kernel_size"
        )
    return count


def _fit(x, axis, value, pad, length):
    """Pads an axis in front by pad, and behind to the length that the windows cover.

    What is longer is not cropped: the gradient would be put together at the shorter length first
    and copied to the longer one then.
    """
    behind = length - pad - x.shape[axis]
    behind = max(behind, 0) if isinstance(behind, int) else behind
    if pad == 0 and behind == 0:
        return x
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (pad, behind, 0)
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), config)


def _cells(x, axes):
    """For each cell of the window, in row-major order, that cell of every window.

    Args:
        x: an array.
        axes: axis -> (kernel, stride, dilation, number of windows).
    """
    cells = []
    for offsets in itertools.product(*(range(kernel) for kernel, *_ in axes.values())):
        start, end, strides = [0] * x.ndim, list(x.shape), [1] * x.ndim
        for (axis, (_, stride, dilation, count)), offset in zip(axes.items(), offsets):
            start[axis] = offset * dilation
            end[axis] = start[axis] + (count - 1) * stride + 1
            strides[axis] = stride
        cells.append(jax.lax.slice(x, start, end, strides))
    return cells


def _sizes(size, kernel, stride, pad, count, include_pad):
    """Each window's number of cells along one axis."""
    xp: Any = np if isinstance(size, int) else jnp  # an export may leave the size open
    start = xp.arange(count) * stride - pad
    end = xp.minimum(start + kernel, size + pad)
    if not include_pad:
        start, end = xp.maximum(start, 0), xp.minimum(end, size)
    return end - start


def _along(values, axis, x):
    """A vector as an array that broadcasts along one axis of x."""
    xp: Any = np if isinstance(values, np.ndarray) else jnp
    return jnp.asarray(xp.expand_dims(values, tuple(range(1, x.ndim - axis))), x.dtype)


def lowest(dtype):
    """What no maximum chooses: -inf, or the least integer."""
    return -jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min
