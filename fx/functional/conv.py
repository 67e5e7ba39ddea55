"""Convolution in one, two and three dimensions."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fx.functional.convolve import convolve
from fx.functional.dtypes import check_same_dtype
from fx.functional.layout import SPATIAL_AXES, channels_last, per_axis
from fx.functional.once import computed_once
from fx.functional.rows import spread


def conv1d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> jax.Array:
    """Convolution over sequences; arguments as `conv2d` with one spatial axis.

    Args:
        input: [N, in, L] or [in, L].
        weight: [out, in / groups, k].
        bias: [out], or None.
        stride: of the window.
        padding: zeros on both sides, "same" or "valid".
        dilation: distance between the weight's elements.
        groups: number of blocks of channels that do not see each other.

    Returns:
        [N, out, L'] or [out, L'].

    Raises:
        TypeError: see `conv2d`.
        ValueError: see `conv2d`.
    """
    return _conv(input, weight, bias, stride, padding, dilation, groups, 1)


def conv2d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> jax.Array:
    """Convolution over images.

    Args:
        input: [N, in, H, W] or [in, H, W].
        weight: [out, in / groups, kh, kw], the input's dtype.
        bias: [out], or None.
        stride: of the window; a number, or one per axis.
        padding: zeros on both sides; a number, one per axis, "valid" (none) or "same" (as many as
            keep the size; an odd one goes to the end).
        dilation: distance between the weight's elements; a number, or one per axis.
        groups: number of blocks of channels that do not see each other.

    Returns:
        [N, out, H', W'] or [out, H', W'].

    Raises:
        TypeError: weight or bias is not of the input's dtype.
        ValueError: shapes do not fit each other or groups; padding="same" with a stride; the
            window is larger than the padded input; a spatial axis is empty; an argument is out of
            range.

    Example:
        >>> import jax.numpy as jnp
        >>> conv2d(jnp.ones((8, 3, 32, 32)), jnp.ones((16, 3, 3, 3)), padding="same").shape
        (8, 16, 32, 32)
    """
    return _conv(input, weight, bias, stride, padding, dilation, groups, 2)


def conv3d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> jax.Array:
    """Convolution over volumes; arguments as `conv2d` with three spatial axes.

    Args:
        input: [N, in, D, H, W] or [in, D, H, W].
        weight: [out, in / groups, kd, kh, kw].
        bias: [out], or None.
        stride: of the window.
        padding: zeros on both sides, "same" or "valid".
        dilation: distance between the weight's elements.
        groups: number of blocks of channels that do not see each other.

    Returns:
        [N, out, D', H', W'] or [out, D', H', W'].

    Raises:
        TypeError: see `conv2d`.
        ValueError: see `conv2d`.
    """
    return _conv(input, weight, bias, stride, padding, dilation, groups, 3)


def _conv(input, weight, bias, stride, padding, dilation, groups, dims):
    where = f"conv{dims}d"
    weight, bias = jnp.asarray(weight), None if bias is None else jnp.asarray(bias)
    _check_weight(weight, bias, groups, dims, where)
    stride = at_least(1, per_axis(stride, dims, where, "stride"), where, "stride")
    dilation = at_least(1, per_axis(dilation, dims, where, "dilation"), where, "dilation")
    kernel = weight.shape[2:]
    pads = _pads(padding, kernel, stride, dilation, dims, where)

    def convolution(x):  # [N, *spatial, in]
        _check_input(jnp.shape(input), x, weight, bias, groups, where)
        _check_window(x.shape[:-1], kernel, dilation, pads, where)
        x = computed_once(x)
        y = convolve(x, weight, stride, pads, dilation, groups)
        return y if bias is None else y + spread(bias, y.shape)

    return channels_last(convolution, input, dims, where)


def _pads(padding, kernel, stride, dilation, dims, where):
    if padding == "valid":
        return ((0, 0),) * dims
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(
                f'{where}: expected stride 1 with padding="same", got stride {stride}; '
                "give the padding as numbers"
            )
        totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        raise ValueError(f'{where}: expected padding "same", "valid" or numbers, got {padding!r}')
    values = at_least(0, per_axis(padding, dims, where, "padding"), where, "padding")
    return tuple((p, p) for p in values)


def at_least(least: int, values: tuple[int, ...], where: str, name: str) -> tuple[int, ...]:
    """The values, unless one is too small.

    Raises:
        ValueError: a value is less than `least`.
    """
    if min(values) < least:
        raise ValueError(f"{where}: expected {name} of {least} or more, got {values}")
    return values


def _check_weight(weight, bias, groups, dims, where):
    if weight.ndim != dims + 2:
        raise ValueError(
            f"{where}: expected weight [out, in / groups, {dims} kernel axes], "
            f"got {list(weight.shape)}"
        )
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"{where}: expected groups to divide the {weight.shape[0]} output channels, "
            f"got groups={groups}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"{where}: expected bias [{weight.shape[0]}], got {list(bias.shape)}; "
            "one value per output channel"
        )


def _check_input(shape, x, weight, bias, groups, where):
    channels = weight.shape[1] * groups
    if x.shape[-1] != channels:
        raise ValueError(
            f"{where}: expected input [N, {channels}, {SPATIAL_AXES[x.ndim - 2]}], "
            f"got {list(shape)}; "
            f"weight {list(weight.shape)} with groups={groups} takes {channels} channels"
        )
    check_same_dtype(where, input=x, weight=weight, bias=bias)


def _check_window(shape, kernel, dilation, pads, where):
    batch, *spatial = shape
    if 0 in spatial and batch != 0:
        raise ValueError(
            f"{where}: expected an input with elements along the spatial axes, got {spatial}; "
            "padding alone makes no input"
        )
    for size, k, d, pad in zip(spatial, kernel, dilation, pads):
        # Of a size that an export leaves open JAX says so, or asks how small it may be.
        if size + sum(pad) < d * (k - 1) + 1:
            raise ValueError(
                f"{where}: expected a window no larger than the padded input, got window "
                f"{[d * (k - 1) + 1 for k, d in zip(kernel, dilation)]} on "
                f"{[s + sum(p) for s, p in zip(spatial, pads)]}; "
                "use a larger input, a smaller kernel or more padding"
            )
