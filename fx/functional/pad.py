"""Padding of any axes."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.functional.layout import channels_last

NUMPY_MODES: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(
    input: jax.Array, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> jax.Array:
    """Makes an array larger at its borders, or smaller with negative numbers.

    Args:
        input: [...].
        pad: numbers of elements, last axis first: (left, right, top, bottom, front, back).
        mode: "constant", "reflect" (without the border itself), "replicate" or "circular".
        value: of the new elements in mode "constant"; None is 0.

    Returns:
        The padded array, the input's dtype.

    Raises:
        ValueError: the mode is unknown; the input's dtype does not hold the value;
            pad has an odd length or is longer than the axes allow;
            a reflection is as long as its axis, a circular one longer; negative numbers crop more
            than there is, or all of every axis in the modes "reflect" and "replicate"; nothing is
            there to reflect or to replicate; a value is given to another mode.

    Example:
        >>> import jax.numpy as jnp
        >>> pad(jnp.arange(3), (1, 2), mode="constant", value=9).tolist()
        [9, 0, 1, 2, 9, 9]
        >>> pad(jnp.arange(3)[None], (1, 2), mode="reflect").tolist()
        [[1, 0, 1, 2, 1, 0]]

    Source: torch.nn.functional.pad, which in mode "circular" repeats memory that nobody wrote where
    more is asked for than cropping left; here it is an error.
    """
    input = jnp.asarray(input)
    widths = _widths(input.shape, pad, mode)
    if mode == "constant":
        fill = _fill(value, input.dtype)
        return jax.lax.pad(input, fill, [(low, high, 0) for low, high in widths])
    if value:
        raise ValueError(f'pad: expected value only with mode "constant", got mode {mode!r}')
    axes = len(pad) // 2
    grown = tuple((max(low, 0), max(high, 0)) for low, high in widths[-axes:])
    cropped = tuple(slice(max(-low, 0), min(high, 0) or None) for low, high in widths)
    grow = functools.partial(_grow, widths=grown, mode=mode)
    if mode == "circular":  # torch crops before it wraps, and reflects before it crops
        return channels_last(grow, input[cropped], axes, "pad")
    return channels_last(grow, input, axes, "pad")[cropped]


def _fill(value, dtype):
    try:
        return jnp.asarray(0 if value is None else value, dtype)
    except OverflowError:
        raise ValueError(
            f"pad: expected a value that {dtype} holds, got {value}; convert the input first"
        ) from None


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _grow(x, widths, mode):
    """[N, *spatial, C] with borders; on a CPU in one loop that reads by indices."""
    joined = functools.partial(_joined, widths=widths, mode=mode)
    sizes = x.shape[1:-1]
    if not all(isinstance(size, int) for size in sizes):
        return joined(x)
    places = np.ix_(
        *(np.pad(np.arange(n), width, NUMPY_MODES[mode]) for n, width in zip(sizes, widths))
    )
    return jax.lax.platform_dependent(
        x, cpu=lambda x: x.at[:, *places].get(mode="promise_in_bounds"), default=joined
    )


@_grow.defjvp
def _grow_jvp(widths, mode, primals, tangents):
    # What is joined transposes to sums of slices, what is read by indices to a scatter.
    return _grow(primals[0], widths, mode), _joined(tangents[0], widths, mode)


def _joined(x, widths, mode):
    for axis, (low, high) in reversed([*enumerate(widths, 1)]):
        size = x.shape[axis]
        part = functools.partial(jax.lax.slice_in_dim, x, axis=axis)
        if mode == "circular":
            before, after = part(size - low, size), part(0, high)
        elif mode == "reflect":
            before = jax.lax.rev(part(1, 1 + low), [axis])
            after = jax.lax.rev(part(size - 1 - high, size - 1), [axis])
        else:
            before = jnp.repeat(part(0, 1), low, axis)
            after = jnp.repeat(part(size - 1, size), high, axis)
        x = jnp.concatenate([before, x, after], axis)
    return x


def _widths(shape, pad, mode):
    """(low, high) for every axis, in the axes' order."""
    if mode not in ("constant", *NUMPY_MODES):
        raise ValueError(
            f'pad: expected mode "constant", "reflect", "replicate" or "circular", got {mode!r}'
        )
    axes = len(pad) // 2
    if len(pad) % 2 or axes > len(shape):
        raise ValueError(
            f"pad: expected two numbers for each of at most {len(shape)} axes, got {tuple(pad)}"
        )
    if mode != "constant" and not (1 <= axes <= 3 and axes + 1 <= len(shape) <= axes + 2):
        raise ValueError(
            f"pad: expected numbers for all of the spatial axes with mode {mode!r}: 2 for "
            f"[N, C, L], 4 for [N, C, H, W], 6 for [N, C, D, H, W] (N may be absent), got "
            f"{len(pad)} for {list(shape)}"
        )
    repeats = mode in ("reflect", "replicate")
    if repeats and 0 in shape[len(shape) - axes - 1 :]:
        raise ValueError(
            f"pad: expected channels and elements to repeat with mode {mode!r}, got {list(shape)}"
        )
    pairs = [(pad[2 * i], pad[2 * i + 1]) for i in range(axes)][::-1]
    spatial = list(shape[len(shape) - axes :])
    for size, (low, high) in zip(spatial, pairs):
        left = size + min(low, 0) + min(high, 0)
        longest = {"reflect": size - 1, "circular": left}.get(mode, max(low, high))
        if max(low, high) > longest:
            raise ValueError(f"pad: expected at most {longest} for mode {mode!r}, got {tuple(pad)}")
        if size + low + high < 0 or (left < 0 and not repeats):  # who repeats crops what is grown
            raise ValueError(f"pad: expected to crop at most {size} elements, got {tuple(pad)}")
    sizes = [size + low + high for size, (low, high) in zip(spatial, pairs)]
    if repeats and all(isinstance(size, int) and size == 0 for size in sizes):
        raise ValueError(
            f"pad: expected to leave something with mode {mode!r}, got {tuple(pad)} for {spatial}"
        )
    return [(0, 0)] * (len(shape) - axes) + pairs
