"""Reading images at any positions."""

import functools
import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate, check_same_dtype
from fx.functional.layout import to_first, to_last

MODES = ("bilinear", "nearest", "bicubic")
PADDING_MODES = ("zeros", "border", "reflection")
CUBIC = -0.75


def affine_grid(
    theta: jax.Array, size: Sequence[int], align_corners: bool | None = None
) -> jax.Array:
    """Positions for `grid_sample` that move an image by an affine map.

    Args:
        theta: [N, 2, 3] for images, [N, 3, 4] for volumes, floating.
        size: the output's shape, (N, C, H, W) or (N, C, D, H, W).
        align_corners: whether -1 and 1 are the centres of the corner pixels, not their outer edges;
            None is False.

    Returns:
        [N, H, W, 2] with (x, y), or [N, D, H, W, 3] with (x, y, z); theta's dtype.

    Raises:
        TypeError: theta is not floating.
        ValueError: theta's shape does not fit the size; a size is below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> theta = jnp.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        >>> affine_grid(theta, (1, 1, 1, 2)).tolist()
        [[[[-0.5, 0.0], [0.5, 0.0]]]]

    Source: torch.nn.functional.affine_grid, without the warning where align_corners is None.
    """
    wide = accumulate(theta, "affine_grid")
    dims = len(size) - 2
    fits = dims in (2, 3) and wide.shape == (size[0], dims, dims + 1)
    if not fits or any(n < 1 for n in size):
        raise ValueError(
            "affine_grid: expected theta [N, 2, 3] with size (N, C, H, W), or [N, 3, 4] with size "
            f"(N, C, D, H, W), got {list(wide.shape)} with {tuple(size)}"
        )
    axes = []
    for n in size[2:]:
        axis = jnp.linspace(-1, 1, n, dtype=wide.dtype) if n > 1 else jnp.zeros(1, wide.dtype)
        axes.append(axis if align_corners else axis * ((n - 1) / n))
    points = jnp.meshgrid(*axes, indexing="ij")[::-1]
    base = jnp.stack([*points, jnp.ones_like(points[0])], -1)  # [H, W, 3]
    # Positions in TensorFloat-32 would lose half of their digits.
    grid = jnp.einsum("...j,nij->n...i", base, wide, precision=jax.lax.Precision.HIGHEST)
    return grid.astype(jnp.asarray(theta).dtype)


def grid_sample(
    input: jax.Array,
    grid: jax.Array,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> jax.Array:
    """Reads an image at the positions of a grid.

    Args:
        input: [N, C, H, W] or [N, C, D, H, W], floating.
        grid: [N, H', W', 2] with (x, y), or [N, D', H', W', 3] with (x, y, z), the input's dtype;
            -1 and 1 are the ends of an axis.
        mode: "bilinear" (trilinear for volumes), "nearest" or, for images, "bicubic".
        padding_mode: what is outside: "zeros", the nearest pixel of the "border", or the image's
            "reflection".
        align_corners: whether -1 and 1 are the centres of the corner pixels, not their outer edges;
            None is False.

    Returns:
        [N, C, H', W'] or [N, C, D', H', W'], the input's dtype; float16 and bfloat16 compute in
        float32.

    Raises:
        TypeError: input or grid is not floating, or they differ in dtype.
        ValueError: shapes do not fit each other; an unknown mode; the input has no pixels.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[[[0.0, 4.0]]]])
        >>> grid_sample(x, jnp.array([[[[0.25, 0.0]]]]), align_corners=True).tolist()
        [[[[2.5]]]]

    Source: torch.nn.functional.grid_sample, without the warning where align_corners is None.
    """
    x, grid = jnp.asarray(input), jnp.asarray(grid)
    _check(x, grid, mode, padding_mode)
    dtype = x.dtype
    x, grid = accumulate(x, "grid_sample"), accumulate(grid, "grid_sample")
    spatial = x.shape[2:]
    corners = bool(align_corners)
    positions = []
    for axis, size in enumerate(reversed(spatial)):
        at = grid[..., axis]
        unit = (at + 1) / 2 * (size - 1) if corners else ((at + 1) * size - 1) / 2
        if mode != "bicubic":  # which moves every pixel that it reads by itself
            unit = _inside(unit, size, padding_mode, corners)
        positions.append(unit)
    positions.reverse()  # [N, *out] for every axis, in the input's order
    reads = [_reads(at, size, mode, padding_mode, corners) for at, size in zip(positions, spatial)]
    x = to_last(x).reshape(x.shape[0], math.prod(spatial), x.shape[1])
    read = [_read(x, taps, spatial) for taps in itertools.product(*reads)]
    found = functools.reduce(jnp.add, read)
    if padding_mode == "zeros" and mode != "nearest" and len(spatial) == 2:
        # torch multiplies what is outside by its weight there, NaN, and on three axes leaves it out
        known = functools.reduce(jnp.logical_and, map(jnp.isfinite, positions))
        found = jnp.where(known[..., None], found, jnp.nan)
    return to_first(found).astype(dtype)


def _reads(at, size, mode, padding_mode, corners):
    """(pixel, its weight) of every pixel that is read along one axis."""
    if mode == "nearest":
        return [(jnp.round(at), jnp.ones_like(at))]
    first = jax.lax.stop_gradient(jnp.floor(at))
    part = at - first
    if mode == "bilinear":
        return [(first, 1 - part), (first + 1, part)]
    pixels = [_inside(first + k, size, padding_mode, corners) for k in range(-1, 3)]
    return list(zip(pixels, _cubic(part)))


def _read(x, taps, spatial):
    """One pixel of each position times its weight, nothing outside; x is [N, pixels, C]."""
    pixels, shares = zip(*taps)
    # NaN compares as outside: no pixel is read there.
    seen = [(pixel >= 0) & (pixel <= size - 1) for pixel, size in zip(pixels, spatial)]
    cells = [jnp.where(inside, pixel, 0).astype(int) for pixel, inside in zip(pixels, seen)]
    place = jnp.ravel_multi_index(tuple(cells), spatial, mode="clip")
    everywhere = functools.reduce(jnp.logical_and, seen)
    # An infinite position has a share of NaN, which the pixel's gradient would be multiplied by.
    weight = jnp.where(everywhere, functools.reduce(jnp.multiply, shares), 0)
    flat = place.reshape(place.shape[0], math.prod(place.shape[1:]), 1)
    values = jnp.take_along_axis(x, flat, 1, mode="clip")
    values = values.reshape(*place.shape, x.shape[-1])  # [N, *out, C]
    return jnp.where(everywhere[..., None], values * weight[..., None], 0)


def _inside(at, size, padding_mode, corners):
    """Positions moved into the image; those at an end get no gradient, as in torch."""
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        at = _reflect(at, 0, 2 * (size - 1)) if corners else _reflect(at, -1, 2 * size - 1)
    at = jnp.where(at > 0, at, 0)
    return jnp.where(at < size - 1, at, size - 1)


def _reflect(at, low, high):
    """Folds positions into [low / 2, high / 2]."""
    if low == high:
        return jnp.zeros_like(at)
    start, span = low / 2, (high - low) / 2
    distance = jnp.abs(at - start)
    turns = jax.lax.stop_gradient(jnp.floor(distance / span))
    extra = distance - turns * span
    return jnp.where(turns % 2 == 0, extra + start, span - extra + start)


def _cubic(part):
    """The weights of the four pixels around a position."""
    far, near = (part + 1, 2 - part), (part, 1 - part)
    outer = [((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC for t in far]
    inner = [((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1 for t in near]
    return outer[0], *inner, outer[1]


def _check(x, grid, mode, padding_mode):
    dims = x.ndim - 2
    if mode not in MODES or padding_mode not in PADDING_MODES or (mode, dims) == ("bicubic", 3):
        raise ValueError(
            f"grid_sample: expected mode one of {', '.join(MODES)} (bicubic for images alone) and "
            f"padding_mode one of {', '.join(PADDING_MODES)}, got {mode!r} and {padding_mode!r}"
        )
    fits = dims in (2, 3) and grid.ndim == x.ndim
    if (
        not fits
        or (grid.shape[0], grid.shape[-1]) != (x.shape[0], dims)
        or any(n < 1 for n in x.shape[2:])
    ):
        raise ValueError(
            "grid_sample: expected input [N, C, H, W] with grid [N, H', W', 2], or input "
            f"[N, C, D, H, W] with grid [N, D', H', W', 3], got {list(x.shape)} and "
            f"{list(grid.shape)}"
        )
    check_same_dtype("grid_sample", input=x, grid=grid)
