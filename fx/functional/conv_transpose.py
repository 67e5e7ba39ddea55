"""Transposed convolution in one, two and three dimensions."""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fx.functional.conv import at_least
from fx.functional.convolve import DIMENSION_NUMBERS, by_platform, convolve, convolve_on_cpu
from fx.functional.dtypes import accumulate, check_same_dtype
from fx.functional.fold import overlap_add
from fx.functional.layout import SPATIAL_AXES, channels_last, per_axis
from fx.functional.rows import spread

FEW = 8  # output channels of a group, from which on a convolution is faster than a product

Size = int | Sequence[int]


def conv_transpose1d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> jax.Array:
    """Transposed convolution over [N, in, L] or [in, L]; arguments as `conv_transpose2d`."""
    return _transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 1)


def conv_transpose2d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> jax.Array:
    """Transposed convolution over images: every input pixel adds its multiple of the weight.

    It is the gradient of `conv2d` with the same arguments with respect to its input.

    Args:
        input: [N, in, H, W] or [in, H, W].
        weight: [in, out / groups, kh, kw], the input's dtype.
        bias: [out], or None.
        stride: distance in the output between neighbours of the input.
        padding: how much is cut off on both sides.
        output_padding: how much is added at the end; less than stride or dilation.
        groups: number of blocks of channels that do not see each other.
        dilation: distance between the weight's elements.

    Returns:
        [N, out, H', W'] or [out, H', W'] with
        H' = (H - 1) * stride - 2 * padding + dilation * (kh - 1) + 1 + output_padding.

    Raises:
        TypeError: weight or bias is not of the input's dtype; a size is not an integer.
        ValueError: shapes do not fit each other or groups; an argument is out of range; less than
            nothing is left of the output. A batch of none is not asked for its output_padding, nor
            for pixels, as in torch.

    Example:
        >>> import jax.numpy as jnp
        >>> conv_transpose2d(jnp.ones((8, 3, 5, 5)), jnp.ones((3, 4, 2, 2)), stride=2).shape
        (8, 4, 10, 10)
    """
    return _transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 2)


def conv_transpose3d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> jax.Array:
    """Transposed convolution over [N, in, D, H, W] or [in, D, H, W]; as `conv_transpose2d`."""
    return _transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, 3)


def _transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, dims):
    where = f"conv_transpose{dims}d"
    weight, bias = jnp.asarray(weight), None if bias is None else jnp.asarray(bias)
    _check_weight(weight, bias, groups, dims, where)
    stride = at_least(1, per_axis(stride, dims, where, "stride"), where, "stride")
    dilation = at_least(1, per_axis(dilation, dims, where, "dilation"), where, "dilation")
    padding = at_least(0, per_axis(padding, dims, where, "padding"), where, "padding")
    more = per_axis(output_padding, dims, where, "output_padding")
    at_least(0, more, where, "output_padding")

    def transpose(x):  # [N, *spatial, in]
        _check_input(jnp.shape(input), x, weight, bias, where)
        sizes = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + m
            for n, s, p, d, k, m in zip(
                x.shape[1:-1], stride, padding, dilation, weight.shape[2:], more
            )
        ]
        if isinstance(x.shape[0], int) and x.shape[0] == 0 and min(sizes) >= 0:
            return jnp.zeros((0, *sizes, weight.shape[1] * groups), x.dtype)
        _check_output_padding(more, stride, dilation, where)
        _check_sizes(sizes, x.shape[1:-1], where)
        axes = tuple(zip(stride, padding, dilation, sizes))
        if max(stride) == 1:
            turned, pads = _turned(x, weight, groups, axes)
            y = convolve(x, turned, stride, pads, dilation, groups)
        else:
            # XLA's CPU convolutions are slow on spread inputs, their gradients by orders of
            # magnitude; elsewhere the spread form is the fast one.
            form = _by_phases if _in_phases(x, weight, groups, axes) else _as_product
            y = by_platform(x, weight, axes, groups, form, _as_convolution)
        return y if bias is None else y + spread(bias, y.shape)

    return channels_last(transpose, input, dims, where)


def _turned(x, weight, groups, axes):
    """The weight [out, in / groups, *kernel] and the padding of the convolution over the input."""
    dims, kernel = len(axes), weight.shape[2:]
    inputs, outputs = weight.shape[0] // groups, weight.shape[1]
    weight = jnp.flip(weight, range(2, dims + 2)).reshape(groups, inputs, outputs, *kernel)
    weight = jnp.swapaxes(weight, 1, 2).reshape(groups * outputs, inputs, *kernel)
    pads = []
    for n, k, (stride, pad, dilation, size) in zip(x.shape[1:-1], kernel, axes):
        before = dilation * (k - 1) - pad
        pads.append((before, size - before - ((n - 1) * stride + 1) + dilation * (k - 1)))
    return weight, tuple(pads)


def _as_convolution(x, weight, axes, groups):
    """A convolution of the input spread by stride with the turned weight."""
    weight, pads = _turned(x, weight, groups, axes)
    return jax.lax.conv_general_dilated(
        x,
        weight,
        window_strides=(1,) * len(axes),
        padding=pads,
        lhs_dilation=[axis[0] for axis in axes],
        rhs_dilation=[axis[2] for axis in axes],
        dimension_numbers=DIMENSION_NUMBERS[len(axes)],
        feature_group_count=groups,
    )


def _as_product(x, weight, axes, groups):
    """Every pixel's multiple of the weight as one matrix product, then added where they overlap."""
    dims, kernel, dtype = len(axes), weight.shape[2:], x.dtype
    inputs, outputs = weight.shape[0] // groups, weight.shape[1]
    x, weight = (accumulate(value, f"conv_transpose{dims}d") for value in (x, weight))
    weight = weight.reshape(groups, inputs, outputs * math.prod(kernel))
    x = x.reshape(*x.shape[:-1], groups, inputs)  # [N, *spatial, groups, in / groups]
    y = jax.lax.dot_general(x, weight, (((dims + 2,), (1,)), ((dims + 1,), (0,))))
    y = y.reshape(*y.shape[:-1], outputs, *kernel)  # [groups, N, *spatial, out / groups, *kernel]
    y = jnp.moveaxis(y, (0, dims + 2), (-2, -1))  # [N, *spatial, *kernel, groups, out / groups]
    y = y.reshape(*y.shape[:-2], groups * outputs)
    return overlap_add(y, axes).astype(dtype)


def _in_phases(x, weight, groups, axes):
    """Whether `_by_phases` applies, and is faster than a product."""
    kernel = weight.shape[2:]
    known = all(isinstance(size, int) and size for size in (*x.shape, *(axis[3] for axis in axes)))
    fitting = all(
        k >= stride and dilation == 1 for k, (stride, _, dilation, _) in zip(kernel, axes)
    )
    overlapping = any(k > stride for k, (stride, *_) in zip(kernel, axes))
    return known and fitting and overlapping and weight.shape[1] >= FEW


def _by_phases(x, weight, axes, groups):
    """A convolution for each remainder that output pixels have by stride; one sees few taps."""
    turned, _ = _turned(x, weight, groups, axes)
    ones, made = (1,) * len(axes), []
    for phase in itertools.product(*(range(stride) for stride, *_ in axes)):
        seen, part, pads = x, turned, []
        for i, (remainder, (stride, pad, _, size)) in enumerate(zip(phase, axes)):
            k, n, shift = turned.shape[i + 2], x.shape[i + 1], remainder + pad
            part = jax.lax.slice_in_dim(part, (k - 1 - shift) % stride, k, stride, axis=i + 2)
            taps = part.shape[i + 2]
            begin = shift // stride - taps + 1
            # Fast convolutions take no negative padding: what is not seen is cut off.
            cells = range(begin, begin + -(-size // stride) + taps - 1)
            inside = cells[max(-begin, 0) : max(n - begin, 0)]
            seen = jax.lax.slice_in_dim(seen, min(inside.start, n), min(inside.stop, n), axis=i + 1)
            before = min(max(-begin, 0), len(cells))
            pads.append((before, len(cells) - before - len(inside)))
        made.append(convolve_on_cpu(seen, part, ones, tuple(pads), ones, groups))
    return _interleaved(made, axes)


def _interleaved(phases, axes):
    """[N, *spatial, C] for each phase, in row-major order, as the pixels of one array."""
    dims, strides, sizes = len(axes), [axis[0] for axis in axes], [axis[3] for axis in axes]
    count, *small, channels = phases[0].shape
    y = jnp.stack(phases, -2).reshape(count, *small, *strides, channels)
    order = [place for i in range(1, dims + 1) for place in (i, i + dims)]
    y = y.transpose(0, *order, 2 * dims + 1)
    y = y.reshape(count, *(n * stride for n, stride in zip(small, strides)), channels)
    return jax.lax.slice(y, [0] * y.ndim, [count, *sizes, channels])


def _check_weight(weight, bias, groups, dims, where):
    if weight.ndim != dims + 2:
        raise ValueError(
            f"{where}: expected weight [in, out / groups, {dims} kernel axes], "
            f"got {list(weight.shape)}"
        )
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"{where}: expected groups to divide the {weight.shape[0]} input channels, "
            f"got groups={groups}"
        )
    outputs = weight.shape[1] * groups
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(
            f"{where}: expected bias [{outputs}], got {list(bias.shape)}; "
            "one value per output channel"
        )


def _check_input(shape, x, weight, bias, where):
    channels = weight.shape[0]
    if x.shape[-1] != channels:
        raise ValueError(
            f"{where}: expected input [N, {channels}, {SPATIAL_AXES[x.ndim - 2]}], "
            f"got {list(shape)}; weight {list(weight.shape)} takes {channels} channels"
        )
    check_same_dtype(where, input=x, weight=weight, bias=bias)


def _check_output_padding(more, stride, dilation, where):
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation)):
        raise ValueError(
            f"{where}: expected output_padding less than stride or dilation, got {more} with "
            f"stride {stride} and dilation {dilation}"
        )


def _check_sizes(sizes, spatial, where):
    if any(size < 1 for size in (*sizes, *spatial)):
        raise ValueError(
            f"{where}: expected an input and an output with elements, got {list(spatial)} and "
            f"{sizes} along the spatial axes; use less padding or a larger input"
        )
