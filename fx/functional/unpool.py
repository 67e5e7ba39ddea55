"""The partial inverse of max pooling."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fx.functional.layout import SPATIAL_AXES, per_axis
from fx.functional.pool import check_axes

Size = int | Sequence[int]


def max_unpool1d(
    input: jax.Array,
    indices: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> jax.Array:
    """Puts maxima back into zeros [N, C, L] or [C, L]; arguments as `max_unpool2d`."""
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 1)


def max_unpool2d(
    input: jax.Array,
    indices: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> jax.Array:
    """Puts maxima back where `max_pool2d` found them, into zeros.

    Args:
        input: [N, C, H', W'] or [C, H', W'].
        indices: where each goes, y * W + x, in the input's shape; those outside are dropped.
        kernel_size: of the pooling's window.
        stride: of the window; None is kernel_size.
        padding: of the pooling.
        output_size: H and W, or the whole shape, where a stride leaves a choice; else the smallest
            whole fit, (H' - 1) * stride - 2 * padding + kernel_size.

    Returns:
        [N, C, H, W] or [C, H, W], the input's dtype.

    Raises:
        TypeError: the indices are not integers.
        ValueError: the input has other axes, the indices another shape; output_size is not within a
            stride of the fit.

    Example:
        >>> import jax.numpy as jnp
        >>> max_unpool2d(jnp.array([[[5.0]]]), jnp.array([[[2]]]), 2).tolist()
        [[[0.0, 0.0], [5.0, 0.0]]]

    Source: torch.nn.functional.max_unpool2d, which raises for indices outside. Where two maxima
    stand at one place, as windows that overlap give, both get its gradient, as in torch.
    """
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 2)


def max_unpool3d(
    input: jax.Array,
    indices: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> jax.Array:
    """Puts maxima back into zeros [N, C, D, H, W] or [C, D, H, W]; arguments as `max_unpool2d`."""
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 3)


def _unpool(input, indices, kernel_size, stride, padding, output_size, dims):
    where = f"max_unpool{dims}d"
    x, indices = jnp.asarray(input), jnp.asarray(indices)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"{where}: expected indices of integers, got {indices.dtype}")
    if x.ndim not in (dims + 1, dims + 2) or indices.shape != x.shape:
        raise ValueError(
            f"{where}: expected input [N, C, {SPATIAL_AXES[dims]}] or [C, {SPATIAL_AXES[dims]}] "
            f"and indices of its shape, got {list(x.shape)} and {list(indices.shape)}"
        )
    channels, *spatial = x.shape[-dims - 1 :]
    check_axes(channels, spatial, where)
    kernel = per_axis(kernel_size, dims, where, "kernel_size")
    steps = kernel if stride is None else per_axis(stride, dims, where, "stride")
    pads = per_axis(padding, dims, where, "padding")
    fit = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(x.shape[-dims:], steps, kernel, pads)]
    sizes = _sizes(fit, steps, output_size, dims, where)
    leading = x.shape[:-dims]
    flat = (*leading, math.prod(x.shape[-dims:]))
    y = _place(x.reshape(flat), indices.reshape(flat), math.prod(sizes))
    return y.reshape(*leading, *sizes)


def _sizes(fit, steps, output_size, dims, where):
    if output_size is None:
        sizes = fit
    else:
        sizes = list(output_size)[2:] if len(output_size) == dims + 2 else list(output_size)
        if len(sizes) != dims or any(abs(n - f) >= s for n, f, s in zip(sizes, fit, steps)):
            raise ValueError(
                f"{where}: expected output_size less than a stride {list(steps)} from {fit}, "
                f"got {list(output_size)}"
            )
    if any(isinstance(n, int) and n < 1 for n in sizes):
        raise ValueError(f"{where}: expected an output of 1 or more along every axis, got {sizes}")
    return sizes


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _place(x, indices, size):
    """Values [..., L] at their places in zeros [..., size]."""
    return _scatter(x, indices, size, "set")


@_place.defjvp
def _place_jvp(size, primals, tangents):
    # The transpose of adding is reading, which is torch's gradient where places repeat.
    (x, indices), (dx, _) = primals, tangents
    return _place(x, indices, size), _scatter(dx, indices, size, "add")


def _scatter(x, indices, size, how):
    def one(values, at):
        places = jnp.zeros(size, x.dtype).at[at]
        return getattr(places, how)(values, mode="drop", wrap_negative_indices=False)

    for _ in range(x.ndim - 1):
        one = jax.vmap(one)
    return one(x, indices)
