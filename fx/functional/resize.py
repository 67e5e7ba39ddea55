"""Interpolation to other sizes."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from fx.functional import taps
from fx.functional.adaptive_pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from fx.functional.dtypes import accumulate
from fx.functional.layout import channels_last

Factor = float | Sequence[float] | None
Size = int | Sequence[int] | None

# Which modes there are for so many spatial axes.
ANY = ("nearest", "nearest-exact", "area")
MODES = {
    1: (*ANY, "linear"),
    2: (*ANY, "bilinear", "bicubic", "lanczos"),
    3: (*ANY, "trilinear"),
}
SMALL = 128  # rows and columns of an output together: torch has code of its own up to there
STAND_IN = 16  # pixels, for an axis whose size an export leaves open
AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}
ANTIALIASED = {
    "bilinear": (taps.linear_filter, 1),
    "bicubic": (functools.partial(taps.cubic_filter, a=taps.CUBIC_ANTIALIAS), 2),
    "lanczos": (taps.lanczos_filter, taps.LANCZOS),
}


def interpolate(
    input: jax.Array,
    size: Size = None,
    scale_factor: Factor = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> jax.Array:
    """Resizes the spatial axes.

    Args:
        input: [N, C, L], [N, C, H, W] or [N, C, D, H, W], floating; the nearest modes take any
            dtype, "bilinear" and "bicubic" uint8 too, which is rounded.
        size: of the output; a number, or one per axis.
        scale_factor: in place of size; floor(size * scale_factor) is the output's.
        mode: "nearest" (torch's, which rounds down), "nearest-exact", "area" (adaptive average),
            "linear" for one axis, "bilinear", "bicubic" or "lanczos" for two, "trilinear" for
            three.
        align_corners: whether the corner pixels' centres, not their outer edges, stay in place; for
            the linear and cubic modes, where None is False.
        recompute_scale_factor: compute positions from the sizes in place of scale_factor, which
            differ where the output was rounded down.
        antialias: widen the filter where the image shrinks; "bilinear", "bicubic" and "lanczos",
            which needs it.

    Returns:
        The resized array, the input's dtype; float16 and bfloat16 compute in float32.

    Raises:
        TypeError: a size is not an integer; the dtype does not suit the mode.
        ValueError: not exactly one of size and scale_factor, or not one per axis; the mode does not
            exist for the number of axes; an option does not suit the mode; a size is below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> interpolate(jnp.array([[[0.0, 4.0]]]), scale_factor=2, mode="linear").tolist()
        [[[0.0, 1.0, 3.0, 4.0]]]

    Source: torch.nn.functional.interpolate. Its fixed-point arithmetic for uint8 images may differ
    by one in a few of a hundred pixels. With antialias an axis that keeps its size despite
    scale_factor stays as it is, in torch too; an output one pixel wide has in torch the first row's
    weights in all rows (2.13, contiguous, on CPUs with AVX-512), and here each its own. Its
    gradients of an axis that keeps its size so, of bicubic ones that keep theirs and of "nearest"
    on one and on three axes are at times, where scale_factor is no whole number, not the
    derivatives of its outputs; here they are. "nearest" follows torch's CPU code: of images of at
    most 128 rows and columns together, an axis that keeps its size, or doubles it, does so whatever
    the factor was; CUDA's goes by the factor.
    """
    x = jnp.asarray(input)
    dims = x.ndim - 2
    _check_mode(x, mode, align_corners, antialias)
    sizes, factors = _sizes(x.shape[2:], size, scale_factor, mode, recompute_scale_factor)
    if mode == "area":
        return _area(x, sizes)
    choice = mode in ANY and x.dtype != jnp.float64
    dtype = np.float32 if choice else np.float64
    axes = _axes(x.shape[2:], sizes, factors, bool(align_corners), antialias, dtype)
    if mode in ANY:
        return _nearest(x, axes, mode == "nearest-exact")
    passes = _passes(axes, mode, antialias)
    bytes_ = x.dtype == jnp.uint8
    wide = x.astype(jnp.float32) if bytes_ else accumulate(x, "interpolate")

    def resize(x):
        for axis in reversed(range(1, dims + 1)):
            x = passes[axis - 1](x, axis)
            if bytes_:  # torch keeps bytes between the passes
                x = jnp.clip(jnp.floor(x + 0.5), 0, 255)
        return x

    return channels_last(resize, wide, dims, "interpolate").astype(x.dtype)


def upsample(
    input: jax.Array,
    size: Size = None,
    scale_factor: Factor = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> jax.Array:
    """Resizes the spatial axes: `interpolate` under its old name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: jax.Array, size: Size = None, scale_factor: Factor = None) -> jax.Array:
    """Repeats pixels: `interpolate` with mode "nearest"."""
    return interpolate(input, size, scale_factor)


def upsample_bilinear(
    input: jax.Array, size: Size = None, scale_factor: Factor = None
) -> jax.Array:
    """Interpolates linearly between aligned corners: `interpolate` with mode "bilinear"."""
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)


def _check_mode(x, mode, align_corners, antialias):
    dims = x.ndim - 2
    if mode not in MODES.get(dims, ()):
        raise ValueError(
            f"interpolate: expected a mode for the input's axes (one spatial axis: "
            f"{', '.join(MODES[1])}; two: {', '.join(MODES[2])}; three: {', '.join(MODES[3])}), "
            f"got {mode!r} for {list(x.shape)}"
        )
    if align_corners is not None and mode in ANY:
        raise ValueError(
            f"interpolate: expected align_corners=None with mode {mode!r}, got {align_corners}; "
            "it is for the linear and cubic modes"
        )
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError(
            'interpolate: expected antialias=True and no align_corners with mode "lanczos", got '
            f"antialias={antialias}, align_corners={align_corners}"
        )
    if antialias and mode not in ANTIALIASED:
        raise ValueError(
            'interpolate: expected antialias only with modes "bilinear", "bicubic" and "lanczos", '
            f"got {mode!r}"
        )
    if any(n < 1 for n in x.shape[2:]) or (x.shape[1] == 0 and mode != "area"):
        raise ValueError(f"interpolate: expected channels with pixels, got {list(x.shape)}")


def _sizes(spatial, size, scale_factor, mode, recompute):
    """The output's sizes, and the factors that positions are computed with (None: the sizes)."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: expected either size or scale_factor, got size={size}, "
            f"scale_factor={scale_factor}"
        )
    if size is not None and recompute:
        raise ValueError(
            "interpolate: expected recompute_scale_factor only with scale_factor, got it with "
            f"size={size}"
        )
    given = size if scale_factor is None else scale_factor
    values = tuple(given) if isinstance(given, Sequence) else (given,) * len(spatial)
    if len(values) != len(spatial):
        raise ValueError(
            f"interpolate: expected one number, or one for each of {len(spatial)} axes, "
            f"got {given!r}"
        )
    if scale_factor is None and not all(map(_is_size, values)):
        raise TypeError(f"interpolate: expected size of ints, got {size!r}")
    sizes: Any = values
    if scale_factor is not None:
        sizes = tuple(_scaled(n, factor) for n, factor in zip(spatial, sizes))
    by_sizes = scale_factor is None or recompute or mode == "area"
    factors = (None,) * len(values) if by_sizes else values
    if any(n < 1 for n in sizes):
        raise ValueError(
            f"interpolate: expected an output with pixels, got {list(sizes)} from {list(spatial)}"
        )
    return sizes, factors


def _is_size(value):
    return hasattr(value, "__index__") or export.is_symbolic_dim(value)


def _area(x, sizes):
    if any(map(export.is_symbolic_dim, sizes)):
        raise ValueError(
            'interpolate: expected a mode other than "area" for an output whose size an export '
            f'leaves open, got {list(x.shape[2:])} to {list(sizes)}; "nearest" enlarges a '
            "whole number of times alike"
        )
    return AREA[x.ndim - 2](x, sizes)


def _axes(spatial, sizes, factors, corners, antialias, dtype):
    """The axes to be resized; sizes that an export leaves open have a stand-in."""
    if not all(isinstance(n, int) for n in spatial):
        _check_open(spatial, sizes, factors, corners or antialias)
        spatial, sizes = zip(*map(_stand_in, spatial, sizes))
    return [taps.Axis(n, out, f, corners, dtype) for n, out, f in zip(spatial, sizes, factors)]


def _nearest(x, axes, exact):
    # A pixel that is read often has the sum of its readers' gradients: not one of bfloat16.
    wide = accumulate(x, "interpolate") if jnp.issubdtype(x.dtype, jnp.floating) else x
    small = not exact and len(axes) == 2 and sum(axis.out for axis in axes) <= SMALL

    def read(x):
        for i, axis in enumerate(axes, start=1):
            x = _gather(x, i, taps.nearest(axis, exact, small)[:, None], None)
        return x

    return channels_last(read, wide, len(axes), "interpolate").astype(x.dtype)


def _passes(axes, mode, antialias):
    """For each axis the function `(x, axis) -> x` that resizes it."""
    if antialias:
        # torch leaves an axis that keeps its size as it is, also where a factor would move pixels.
        return [
            _kept
            if axis.size == axis.out
            else functools.partial(_multiply, matrix=taps.antialiased(axis, *ANTIALIASED[mode]))
            for axis in axes
        ]
    found = [(taps.cubic if mode == "bicubic" else taps.linear)(axis) for axis in axes]
    return [functools.partial(_gather, pixels=f[0], weights=f[1]) for f in found]


def _scaled(size, factor):
    if isinstance(size, int):
        return math.floor(size * factor)
    if factor != int(factor):
        raise _refusal(size, f"{factor} times as much")
    return size * int(factor)


def _refusal(size, out):
    return ValueError(
        "interpolate: expected an axis whose size an export leaves open to be enlarged a whole "
        f"number of times, without align_corners or antialias, got {size} to {out}; export with a "
        "number in its place"
    )


def _times(size, out) -> Any:
    """How many times larger an output of an open size is, up to 64, or None."""
    return next((times for times in range(1, 65) if out == size * times), None)


def _stand_in(size, out):
    """Sizes that stand for an open one: what is read and weighed far from the ends is the same."""
    return (size, out) if isinstance(size, int) else (STAND_IN, STAND_IN * (_times(size, out) or 1))


def _check_open(spatial, sizes, factors, refused):
    for n, out, factor in zip(spatial, sizes, factors):
        times = None if isinstance(n, int) else _times(n, out)
        if not isinstance(n, int) and (refused or times is None or factor not in (None, times)):
            raise _refusal(n, out)


def _gather(x, axis, pixels, weights):
    """Reads and weighs pixels along one axis of x; both are [out, taps], weights may be None."""
    size = x.shape[axis]
    if not isinstance(size, int):
        return _enlarged(x, axis, pixels, weights)
    if weights is None and pixels.shape[0] == size and (pixels[:, 0] == np.arange(size)).all():
        return x
    periodic = _phases(pixels, size)
    if periodic is not None:
        return _shifted(x, axis, periodic, weights)
    return _taken(x, axis, np.clip(pixels, 0, size - 1), weights)


def _enlarged(x, axis, pixels, weights):
    """As `_gather`, where the size is open: as the stand-in's middle is, so is every pixel."""
    shifts = _phases(pixels, STAND_IN, most=len(pixels))
    times = len(pixels) // STAND_IN
    if shifts is None:
        raise ValueError(
            f"interpolate: an axis made {times} times as large has pixels that rounding moves, as "
            f"in torch, so that no export leaves {x.shape[axis]} open; export with a number in its "
            "place, or enlarge in two steps"
        )
    middle = slice(times * (STAND_IN // 2), times * (STAND_IN // 2 + 1))
    return _shifted(x, axis, shifts, None if weights is None else weights[middle])


def _phases(found, size, most=8):
    """The repeated pattern of a whole-numbered enlargement: its shifts [phases, taps], or None.

    Slices and their gradients are much faster than gathers and theirs.
    """
    out, count = found.shape
    if out % size or out // size > most:
        return None
    shifts = found.reshape(size, out // size, count) - np.arange(size)[:, None, None]
    return shifts[size // 2] if (shifts == shifts[size // 2]).all() else None


def _shifted(x, axis, shifts, weight):
    """An enlargement by slices of x with repeated edges; weight is [out, taps] or None."""
    phases, count = shifts.shape
    size = x.shape[axis]
    before, after = max(-int(shifts.min()), 0), max(int(shifts.max()), 0)
    config = [(before, after) if a == axis else (0, 0) for a in range(x.ndim)]
    wide = jnp.pad(x, config, mode="edge") if before or after else x
    made = []
    for phase in range(phases):
        terms = []
        for tap in range(count):
            start = before + int(shifts[phase, tap])
            cells = jax.lax.slice_in_dim(wide, start, start + size, axis=axis)
            if weight is not None:
                cells = cells * _along(weight[phase::phases, tap], axis, x)
            terms.append(cells)
        made.append(functools.reduce(jnp.add, terms))
    shape = (*x.shape[:axis], phases * size, *x.shape[axis + 1 :])
    return jnp.stack(made, axis + 1).reshape(shape)


def _taken(x, axis, found, weight):
    terms = []
    for tap in range(found.shape[1]):
        cells = jnp.take(x, found[:, tap], axis=axis)
        terms.append(cells if weight is None else cells * _along(weight[:, tap], axis, x))
    return functools.reduce(jnp.add, terms)


def _kept(x, axis):
    return x


def _multiply(x, axis, matrix):
    """A matrix [out, size] along one axis."""
    # Weights in TensorFloat-32 would lose half of their digits.
    matrix = jnp.asarray(matrix, x.dtype)
    y = jnp.tensordot(x, matrix, ((axis,), (1,)), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(y, -1, axis)


def _along(values, axis, x):
    """A vector as an array that broadcasts along one axis of x."""
    return jnp.asarray(np.expand_dims(values, tuple(range(1, x.ndim - axis))), x.dtype)
