"""Windows of images as columns, and columns added up to images."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fx.functional.conv import at_least
from fx.functional.dtypes import accumulate
from fx.functional.layout import per_axis

Size = int | Sequence[int]


def unfold(
    input: jax.Array, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> jax.Array:
    """Makes a column of every window (im2col).

    Args:
        input: [N, C, H, W] or [C, H, W].
        kernel_size: of the window; a number, or one per axis.
        dilation: distance between the window's cells.
        padding: zeros on both sides.
        stride: of the window.

    Returns:
        [N, C * kh * kw, windows] or [C * kh * kw, windows], windows in row-major order.

    Raises:
        TypeError: a size is not an integer.
        ValueError: the input has other axes, or nothing but a batch; a size is out of range; no
            window fits.

    Example:
        >>> import jax.numpy as jnp
        >>> unfold(jnp.arange(6).reshape(1, 2, 3), (2, 2)).tolist()
        [[0, 1], [1, 2], [3, 4], [4, 5]]

    Source: torch.nn.functional.unfold; here a sequence of one number counts for both axes.
    """
    input = jnp.asarray(input)
    if input.ndim not in (3, 4):
        raise ValueError(
            f"unfold: expected input [N, C, H, W] or [C, H, W], got {list(input.shape)}; "
            "reshape it to 4 axes"
        )
    axes = _axes(kernel_size, dilation, padding, stride, "unfold")
    x = input if input.ndim == 4 else input[None]
    if 0 in x.shape[1:]:
        raise ValueError(f"unfold: expected channels with elements, got {list(input.shape)}")
    counts = [_count(size, axis, "unfold") for size, axis in zip(x.shape[2:], axes)]
    kernels = [axis[0] for axis in axes]
    for axis in (3, 2):
        kernel, gap, pad, step = axes[axis - 2]
        count = counts[axis - 2]
        config = [(0, 0, 0)] * x.ndim
        config[axis] = (pad, (count - 1) * step + gap * (kernel - 1) + 1 - pad - x.shape[axis], 0)
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
        stop = [k * gap + (count - 1) * step + 1 for k in range(kernel)]
        cells = [jax.lax.slice_in_dim(x, k * gap, stop[k], step, axis) for k in range(kernel)]
        x = jnp.stack(cells, axis)
    # [N, C, kh, H', kw, W']
    x = jnp.swapaxes(x, 3, 4)
    x = x.reshape(x.shape[0], x.shape[1] * math.prod(kernels), math.prod(counts))
    return x if input.ndim == 4 else x[0]


def fold(
    input: jax.Array,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Size = 0,
    stride: Size = 1,
) -> jax.Array:
    """Adds up columns to images, each where `unfold` took it from (col2im).

    Args:
        input: [N, C * kh * kw, windows] or [C * kh * kw, windows].
        output_size: H and W, or one number for both.
        kernel_size: of the window; a number, or one per axis.
        dilation: distance between the window's cells.
        padding: how much is cut off on both sides.
        stride: of the window.

    Returns:
        [N, C, H, W] or [C, H, W], the input's dtype; float16 and bfloat16 sum in float32.

    Raises:
        TypeError: a size is not an integer.
        ValueError: the input has other axes, or not as many columns or rows as there are windows
            and cells; a size is out of range; no window fits.

    Example:
        >>> import jax.numpy as jnp
        >>> fold(jnp.ones((4, 2)), (2, 3), 2).tolist()
        [[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]
    """
    input = jnp.asarray(input)
    if input.ndim not in (2, 3):
        raise ValueError(
            "fold: expected input [N, C * kh * kw, windows] or [C * kh * kw, windows], "
            f"got {list(input.shape)}"
        )
    sizes = at_least(1, per_axis(output_size, 2, "fold", "output_size"), "fold", "output_size")
    axes = _axes(kernel_size, dilation, padding, stride, "fold")
    counts = [_count(size, axis, "fold") for size, axis in zip(sizes, axes)]
    kernels = [axis[0] for axis in axes]
    cells, windows = math.prod(kernels), math.prod(counts)
    if input.shape[-2] % cells or input.shape[-2] == 0 or input.shape[-1] != windows:
        raise ValueError(
            f"fold: expected input [N, C * {cells}, {windows}] for {counts[0]} x {counts[1]} "
            f"windows of {kernels[0]} x {kernels[1]} cells on {list(sizes)}, "
            f"got {list(input.shape)}"
        )
    x = input if input.ndim == 3 else input[None]
    if jnp.issubdtype(x.dtype, jnp.floating):
        x = accumulate(x, "fold")
    x = x.reshape(x.shape[0], x.shape[1] // cells, *kernels, *counts)
    x = x.transpose(0, 4, 5, 2, 3, 1)  # [N, H', W', kh, kw, C]
    places = [(step, pad, gap, n) for (_, gap, pad, step), n in zip(axes, sizes)]
    x = jnp.moveaxis(overlap_add(x, places), -1, 1).astype(input.dtype)
    return x if input.ndim == 3 else x[0]


def overlap_add(x: jax.Array, axes: Sequence[tuple[int, int, int, int]]) -> jax.Array:
    """Adds up windows, axis by axis, as windows are boxes.

    Args:
        x: [N, *windows, *kernel, C].
        axes: (stride, padding, dilation, size of the result) for every spatial axis.

    Returns:
        [N, *sizes, C]; what falls outside is dropped.
    """
    for axis in reversed(range(1, len(axes) + 1)):
        stride, pad, dilation, size = axes[axis - 1]
        cells = jnp.unstack(x, axis=axis + len(axes))
        spread = (x.shape[axis] - 1) * stride + 1
        placed = []
        for k, cell in enumerate(cells):
            config = [(0, 0, 0)] * cell.ndim
            low = k * dilation - pad
            config[axis] = (low, size - low - spread, stride - 1)
            placed.append(jax.lax.pad(cell, jnp.zeros((), x.dtype), config))
        x = functools.reduce(jnp.add, placed)
    return x


def _axes(kernel_size, dilation, padding, stride, where):
    """(kernel, dilation, padding, stride) for both axes."""
    kernel = at_least(1, per_axis(kernel_size, 2, where, "kernel_size"), where, "kernel_size")
    dilation = at_least(1, per_axis(dilation, 2, where, "dilation"), where, "dilation")
    padding = at_least(0, per_axis(padding, 2, where, "padding"), where, "padding")
    stride = at_least(1, per_axis(stride, 2, where, "stride"), where, "stride")
    return list(zip(kernel, dilation, padding, stride))


def _count(size, axis, where):
    kernel, gap, pad, step = axis
    window = gap * (kernel - 1) + 1
    if isinstance(size, int) and size + 2 * pad < window:
        raise ValueError(
            f"{where}: expected a window no larger than the padded image, got a window of {window} "
            f"on {size + 2 * pad}; use a smaller kernel_size or more padding"
        )
    return (size + 2 * pad - window) // step + 1
