"""One convolution, channels-last, in the form that the platform computes fast.

XLA's CPU backend has fast convolutions in one and two dimensions, of many channels. Those in groups
and in three dimensions it computes by plain loops, at 10 to 100 times the time, and gradients to
their weights at several hundred times; those of one pixel, few channels or windows side by side
are slower than a product. There they are put together from what it is good at; elsewhere the
convolution stays one operation.
"""

import functools
import itertools
import math
from collections.abc import Callable, Hashable

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate
from fx.functional.once import computed_once
from fx.functional.rows import spread

# Activations channels-last, weights as torch keeps them: XLA relays out weights at no cost.
DIMENSION_NUMBERS = {
    1: ("NWC", "OIW", "NWC"),
    2: ("NHWC", "OIHW", "NHWC"),
    3: ("NDHWC", "OIDHW", "NDHWC"),
}
MOST_TAPS = 64  # of a kernel whose taps are written out
MERGED = 32  # input channels up to which groups share a convolution
MOST_PARTS = 128  # convolutions that one in groups is cut into
APART = 16  # taps from which on windows that lie side by side are copied out
MANY = 4096  # rows from which on a sum of them, one after the other, loses digits
NARROW = 16  # elements of a weight up to which XLA sums so, and of any with one row or column
MOST_BLOCKS = 64
FEW = 36  # channels times taps, in or out, up to which a convolution is one product

Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
Form = Callable[..., jax.Array]  # of x, weight, geometry and groups


def convolve(
    x: jax.Array, weight: jax.Array, stride: Sizes, pads: Pads, dilation: Sizes, groups: int
) -> jax.Array:
    """The convolution, nothing checked.

    Args:
        x: [N, *spatial, in].
        weight: [out, in / groups, *kernel], x's dtype.
        stride: of the window, by axis.
        pads: zeros before and behind, by axis.
        dilation: distance between the weight's elements, by axis.
        groups: number of blocks of channels that do not see each other.

    Returns:
        [N, *spatial', out].
    """
    geometry = (tuple(stride), tuple(map(tuple, pads)), tuple(dilation))
    form = _form(x, weight, geometry, groups)
    if form is _plain:
        return _plain(x, weight, geometry, groups)
    return by_platform(x, weight, geometry, groups, form, _plain)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(2, 3, 4, 5))
def by_platform(
    x: jax.Array, weight: jax.Array, geometry: Hashable, groups: int, cpu: Form, default: Form
) -> jax.Array:
    """A convolution in one of two forms, traced once for all layers of one shape.

    The gradient keeps x and weight alone and forms what is made of them again. It chooses the
    platform again, too: a choice that a jitted function hands on is too late for XLA, which leaves
    convolutions in undecided branches as they are, and slow.
    """
    return jax.lax.platform_dependent(
        x,
        weight,
        cpu=lambda x, weight: cpu(x, weight, geometry, groups),
        default=lambda x, weight: default(x, weight, geometry, groups),
    )


def convolve_on_cpu(
    x: jax.Array, weight: jax.Array, stride: Sizes, pads: Pads, dilation: Sizes, groups: int
) -> jax.Array:
    """`convolve`, for what is a form for CPUs already."""
    geometry = (tuple(stride), tuple(pads), tuple(dilation))
    return _form(x, weight, geometry, groups)(x, weight, geometry, groups)


def _form(x, weight, geometry, groups):
    """The function that computes this convolution fastest on a CPU."""
    # Sizes that are symbolic (jax.export) cannot be cut into windows.
    known = all(isinstance(size, int) and size for size in x.shape[1:])
    if not known or x.shape[0] == 0 or not jnp.issubdtype(x.dtype, jnp.floating):
        return _plain
    if groups > 1 and weight.shape[1] == 1 and math.prod(weight.shape[2:]) <= MOST_TAPS:
        return _by_taps
    if groups > 1 and groups // _merged(weight, groups) <= MOST_PARTS:
        return _by_groups
    if groups > 1:
        return _plain
    stride, _, dilation = geometry
    taps, (out, channels) = math.prod(weight.shape[2:]), weight.shape[:2]
    if taps == 1:
        return _by_pixels
    apart = tuple(stride) == weight.shape[2:] and set(dilation) == {1}
    if apart and (taps >= APART or weight.ndim == 3):
        return _by_patches
    if taps * channels <= FEW:
        return _by_columns
    if taps * out <= FEW and set(stride) == {1}:
        return _by_sums
    return _by_planes if weight.ndim == 5 else _plain


def _plain(x, weight, geometry, groups):
    stride, pads, dilation = geometry
    if any(min(pair) < 0 for pair in pads):
        # XLA's fast convolutions on CPUs read past the input where -1 is before and 1 behind it.
        x = _padded(x, [(min(before, 0), min(behind, 0)) for before, behind in pads])
        pads = [(max(before, 0), max(behind, 0)) for before, behind in pads]
    return jax.lax.conv_general_dilated(
        x,
        weight,
        window_strides=stride,
        padding=pads,
        rhs_dilation=dilation,
        dimension_numbers=DIMENSION_NUMBERS[x.ndim - 2],
        feature_group_count=groups,
    )


def _by_taps(x, weight, geometry, groups):
    """A convolution of each channel by itself: shifted inputs times a vector each, one loop."""
    stride, pads, dilation = geometry
    kernel, times = weight.shape[2:], weight.shape[0] // groups
    dtype, x = x.dtype, _kept(x, weight)
    x, weight = _padded(accumulate(x, "convolve"), pads), accumulate(weight, "convolve")

    def product(tap):
        part = _window(x, tap, kernel, stride, dilation)
        part = part if times == 1 else jnp.repeat(part, times, axis=-1)
        return part * spread(weight[(slice(None), 0, *tap)], part.shape, on_cpu=True)

    taps = itertools.product(*map(range, kernel))
    return _kept(functools.reduce(jnp.add, map(product, taps)).astype(dtype), weight)


def _kept(x, weight):
    """The same values, computed once, and so is what the gradient hands back.

    XLA's CPU backend computes loops again in each loop that reads them: all taps for each tap. It
    does not go into branches, and cannot see that both of these do the same.
    """
    first = weight.reshape(-1)[0]
    return jax.lax.cond(first <= first, lambda x: x, lambda x: jnp.negative(-x), x)


def _by_groups(x, weight, geometry, groups):
    """A convolution for each group, or for a few with zeros where they do not see each other.

    What is not finite in a channel reaches the outputs of the groups that share a convolution.
    """
    together = _merged(weight, groups)
    parts, (inputs, *kernel) = groups // together, weight.shape[1:]
    outputs = weight.shape[0] // groups
    weight = weight.reshape(parts, together, outputs, 1, inputs, *kernel)
    own = jnp.eye(together, dtype=bool).reshape(1, together, 1, together, 1, *(1 for _ in kernel))
    weight = jnp.where(own, weight, 0)
    weight = weight.reshape(parts, together * outputs, together * inputs, *kernel)
    form = _by_planes if len(kernel) == 3 else _plain
    pieces = zip(map(computed_once, jnp.split(x, parts, axis=-1)), weight)
    return jnp.concatenate([form(*piece, geometry, 1) for piece in pieces], axis=-1)


def _by_pixels(x, weight, geometry, groups):
    """A product with every pixel, where a window is no more."""
    stride, pads, dilation = geometry
    out, channels, *kernel = weight.shape
    x = _window(_padded(x, pads), (0,) * len(kernel), kernel, stride, dilation)
    return _times_rows(x, weight.reshape(out, channels))


def _by_patches(x, weight, geometry, groups):
    """A product with each window, where they lie side by side."""
    _, pads, dilation = geometry
    out, _, *kernel = weight.shape
    x = _padded(x, pads)
    counts = [size // k for size, k in zip(x.shape[1:-1], kernel)]
    ends = [count * k for count, k in zip(counts, kernel)]
    x = jax.lax.slice(x, [0] * x.ndim, [x.shape[0], *ends, x.shape[-1]])
    x = x.reshape(*x.shape[:-2], counts[-1], -1)  # what a window has of a row lies together
    rows = itertools.product(*map(range, kernel[:-1]))
    x = jnp.concatenate([_window(x, row, kernel[:-1], kernel, dilation) for row in rows], axis=-1)
    return _times_rows(x, jnp.moveaxis(weight, 1, -1).reshape(out, -1))


def _by_columns(x, weight, geometry, groups):
    """A product with what each window meets, laid out: for few channels.

    Source: im2col (Chellapilla et al., "High performance convolutional neural networks for
    document processing", 2006). In float32, in which the gradient sums what the windows share.
    """
    stride, pads, dilation = geometry
    out, _, *kernel = weight.shape
    dtype, x = x.dtype, accumulate(_padded(x, pads), "convolve")
    taps = itertools.product(*map(range, kernel))
    x = jnp.concatenate([_window(x, tap, kernel, stride, dilation) for tap in taps], axis=-1)
    weight = jnp.moveaxis(accumulate(weight, "convolve"), (0, 1), (-1, -2))
    return _product(x, weight.reshape(-1, out)).astype(dtype)  # weight [taps * in, out]


def _by_sums(x, weight, geometry, groups):
    """A product of each pixel with all taps, summed where they meet: for few outputs (col2im)."""
    stride, pads, dilation = geometry
    out, channels, *kernel = weight.shape
    dtype, x = x.dtype, accumulate(_padded(x, pads), "convolve")
    parts = _product(x, accumulate(weight, "convolve").swapaxes(0, 1).reshape(channels, -1))
    parts = parts.reshape(*parts.shape[:-1], out, *kernel)
    taps = itertools.product(*map(range, kernel))
    met = (_window(parts[(..., *tap)], tap, kernel, stride, dilation) for tap in taps)
    return functools.reduce(jnp.add, met).astype(dtype)


def _product(x, weight):
    """Multiplies [..., in] with [in, out] as two matrices, whose gradient is fast too."""
    rows = x.reshape(-1, x.shape[-1])
    blocks = _blocks(rows, weight)
    y = rows @ weight if blocks == 1 else _in_blocks(rows, weight.T, blocks)
    return y.reshape(*x.shape[:-1], -1)


def _times_rows(x, weight):
    """Multiplies [..., in] with [out, in], as the weight lies: a copy would cost the gradient."""
    rows = x.reshape(-1, x.shape[-1])
    blocks = _blocks(rows, weight)
    y = _dot(rows, weight) if blocks == 1 else _in_blocks(rows, weight, blocks)
    return y.reshape(*x.shape[:-1], -1)


def _dot(rows, weight):
    return jax.lax.dot_general(rows, weight, (((1,), (1,)), ((), ())))


def _blocks(rows, weight):
    """Into how many blocks rows are cut for the gradient to a weight of few columns or rows."""
    size = rows.shape[0]
    if not isinstance(size, int) or size < MANY or (1 not in weight.shape and weight.size > NARROW):
        return 1
    return max(blocks for blocks in range(1, MOST_BLOCKS + 1) if size % blocks == 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _in_blocks(rows, weight, blocks):
    """A product whose gradient to the weight is summed by blocks of rows.

    XLA adds one row after the other for a narrow weight, and loses two digits over an image.
    """
    return _dot(rows, weight)


@_in_blocks.defjvp
def _in_blocks_jvp(blocks, primals, tangents):
    (rows, weight), (drows, dweight) = primals, tangents
    cut = rows.reshape(blocks, -1, rows.shape[-1])
    each = jnp.broadcast_to(dweight, (blocks, *dweight.shape))
    moved = jax.lax.dot_general(cut, each, (((2,), (2,)), ((0,), (0,))))  # [blocks, rows, out]
    return _in_blocks(rows, weight, blocks), _dot(drows, weight) + moved.reshape(len(rows), -1)


def _by_planes(x, weight, geometry, groups):
    """Three dimensions as two: the planes that a window meets lie side by side as channels."""
    stride, pads, dilation = geometry
    out, _, depth, *kernel = weight.shape
    dtype, x = x.dtype, accumulate(_padded(x, pads[:1]), "convolve")  # as in columns
    planes = [_window(x, (i,), (depth,), stride[:1], dilation[:1]) for i in range(depth)]
    x = jnp.concatenate(planes, axis=-1)  # [N, D', H, W, depth * in]
    n, d, *rest = x.shape
    weight = jnp.swapaxes(accumulate(weight, "convolve"), 1, 2).reshape(out, -1, *kernel)
    x = computed_once(x.reshape(n * d, *rest))
    y = _plain(x, weight, (stride[1:], pads[1:], dilation[1:]), groups)
    return y.reshape(n, d, *y.shape[1:]).astype(dtype)


def _merged(weight, groups):
    """How many groups share a convolution: those of few channels, which are slow alone."""
    most = max(1, MERGED // weight.shape[1])
    return max(count for count in range(1, min(most, groups) + 1) if groups % count == 0)


def _padded(x, pads):
    """Zeros around the first spatial axes of x [N, *spatial, in]; a negative number cuts."""
    inner = [(before, behind, 0) for before, behind in pads]
    rest = [(0, 0, 0)] * (x.ndim - 1 - len(pads))
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *inner, *rest])


def _window(x, tap, kernel, stride, dilation):
    """What the weight's element `tap` meets of padded x [N, *spatial, in], over the first axes."""
    for axis, (i, k, s, d) in enumerate(zip(tap, kernel, stride, dilation), 1):
        count = (x.shape[axis] - d * (k - 1) - 1) // s + 1
        x = jax.lax.slice_in_dim(x, i * d, i * d + (count - 1) * s + 1, s, axis)
    return x
