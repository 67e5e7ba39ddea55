"""Padding of any axes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


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
        ValueError: the mode is unknown; pad has an odd length or is longer than the axes allow;
            a reflection is as long as its axis, a circular one longer; a negative number makes an
            axis negative; nothing is there to reflect or to replicate; a value is given to
            another mode.

    Example:
        >>> import jax.numpy as jnp
        >>> pad(jnp.arange(3), (1, 2), mode="constant", value=9).tolist()
        [9, 0, 1, 2, 9, 9]
        >>> pad(jnp.arange(3)[None], (1, 2), mode="reflect").tolist()
        [[1, 0, 1, 2, 1, 0]]
    """
    input = jnp.asarray(input)
    widths = _widths(input.shape, pad, mode)
    if mode == "constant":
        fill = jnp.asarray(0 if value is None else value, input.dtype)
        return jax.lax.pad(input, fill, [(low, high, 0) for low, high in widths])
    if value:
        raise ValueError(f'pad: expected value only with mode "constant", got mode {mode!r}')
    grown = [(max(low, 0), max(high, 0)) for low, high in widths]
    cropped = tuple(slice(max(-low, 0), min(high, 0) or None) for low, high in widths)
    if mode == "circular":  # torch crops before it wraps, and reflects before it crops
        return jnp.pad(input[cropped], grown, mode="wrap")
    return jnp.pad(input, grown, mode=NUMPY_MODES[mode])[cropped]


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
    if mode in ("reflect", "replicate") and 0 in shape[len(shape) - axes - 1 :]:
        raise ValueError(
            f"pad: expected channels and elements to repeat with mode {mode!r}, got {list(shape)}"
        )
    pairs = [(pad[2 * i], pad[2 * i + 1]) for i in range(axes)][::-1]
    for size, (low, high) in zip(shape[len(shape) - axes :], pairs):
        left = size + min(low, 0) + min(high, 0)
        longest = {"reflect": size - 1, "circular": left}.get(mode, max(low, high))
        if max(low, high) > longest:
            raise ValueError(f"pad: expected at most {longest} for mode {mode!r}, got {tuple(pad)}")
        least = 1 if mode in ("reflect", "replicate") else 0
        if left < 0 or size + low + high < least:
            raise ValueError(f"pad: expected to crop at most {size} elements, got {tuple(pad)}")
    return [(0, 0)] * (len(shape) - axes) + pairs
