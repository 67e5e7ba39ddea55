"""What the transforms ask of images, keys and arguments."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp

POSITIVE = 1e-6
"""The least that a ratio, a scale or a width may be."""


def check_images(where: str, images: jax.Array) -> None:
    """Raise unless `images` are float `[N, C, H, W]`.

    Raises:
        TypeError: they are not floating point.
        ValueError: they do not have four axes.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{where}: expected float images [N, C, H, W] in [0, 1], got {images.dtype} "
            f"{list(images.shape)}; put ToTensor() before it"
        )
    if images.ndim != 4:
        raise ValueError(
            f"{where}: expected images [N, C, H, W], got {list(images.shape)}; "
            "transforms take whole batches, so give one image as image[None]"
        )


def check_channels(where: str, images: jax.Array) -> None:
    """Raise unless `images` are float `[N, 1 or 3, H, W]`.

    Raises:
        TypeError: they are not floating point.
        ValueError: they do not have four axes, or neither 1 nor 3 channels.
    """
    check_images(where, images)
    if images.shape[1] not in (1, 3):
        raise ValueError(
            f"{where}: expected images with 1 or 3 channels, got {list(images.shape)}; "
            "colour transforms know gray and RGB only"
        )


def need_key(key: jax.Array | None, transform: object) -> jax.Array:
    """Return the key, or raise where a random transform has none."""
    if key is None:
        raise ValueError(
            f"{type(transform).__name__}: expected a PRNG key, got key=None; pass "
            "key=jax.random.key(seed), or for evaluation use a Compose without random transforms"
        )
    return key


def check_number(transform: Any, name: str, value: Any = None) -> None:
    """Raise a TypeError unless an argument of a transform, or a value in it, is a number."""
    value = getattr(transform, name) if value is None else value
    if not isinstance(value, numbers.Real):
        hint = "; a description holds no arrays, write float(...)" * hasattr(value, "shape")
        raise TypeError(
            f"{type(transform).__name__}: expected {name} to be a number, got {value!r}{hint}"
        )


def check_p(transform: Any) -> None:
    """Raise unless the probability `p` of a transform is one."""
    check_number(transform, "p")
    if not 0 <= transform.p <= 1:
        raise ValueError(f"{type(transform).__name__}: expected p in [0, 1], got {transform.p}")


def as_range(
    where: str, name: str, given: Any, least: float = float("-inf")
) -> tuple[float, float]:
    """The two numbers of a range.

    Raises:
        ValueError: they are not two, the first is above the second, or below `least`.
    """
    pair = tuple(given) if isinstance(given, Iterable) else ()
    if len(pair) != 2 or not least <= pair[0] <= pair[1]:
        raise ValueError(
            f"{where}: expected {name} of two numbers, the smaller first"
            f"{f', of {least:.3g} or more' * (least >= 0)}, got {given}"
        )
    return float(pair[0]), float(pair[1])


def as_size(where: str, size: Any, name: str = "size (height, width)") -> tuple[int, int]:
    """The two numbers of a size, or one number for both.

    Raises:
        ValueError: they are not one or two whole numbers of 1 or more.
    """
    pair = tuple(size) if isinstance(size, Iterable) else (size, size)
    whole = [operator.index(n) for n in pair if isinstance(n, SupportsIndex)]
    if len(pair) != 2 or len(whole) != 2 or min(whole) < 1:
        raise ValueError(
            f"{where}: expected {name} of 1 or more, or a number for both, got {size!r}"
        )
    return whole[0], whole[1]


def each(amount: jax.Array) -> jax.Array:
    """An amount for each image, or one for all, against `[N, C, H, W]`."""
    return amount.reshape(-1, 1, 1, 1)


def check_whole(
    transform: Any, name: str, least: int | None = None, most: int | None = None
) -> None:
    """Raise unless an argument of a transform is a whole number within its range."""
    value = getattr(transform, name)
    low = float("-inf") if least is None else least
    high = float("inf") if most is None else most
    if not isinstance(value, SupportsIndex) or not low <= operator.index(value) <= high:
        span = f" from {least} to {most}" if most is not None else f" of {least} or more"
        raise ValueError(
            f"{type(transform).__name__}: expected {name} to be a whole number"
            f"{span * (least is not None)}, got {value!r}"
        )
    object.__setattr__(transform, name, operator.index(value))


def check_interpolation(transform: Any) -> None:
    """Raise unless the interpolation of a transform is one that maps have."""
    if transform.interpolation not in ("nearest", "bilinear"):
        raise ValueError(
            f'{type(transform).__name__}: expected interpolation "nearest" or "bilinear", got '
            f"{transform.interpolation!r}"
        )


def as_fill(transform: Any) -> float | tuple[float, ...] | None:
    """The fill of a transform: None, a number in [0, 1], or one for each channel.

    Raises:
        TypeError: a value is no number.
        ValueError: one is not in [0, 1].
    """
    fill = transform.fill
    if fill is None:
        return None
    listed = isinstance(fill, tuple | list)
    for value in fill if listed else (fill,):
        check_number(transform, "fill", value)
    values = tuple(map(float, fill if listed else (fill,)))
    if not values or not all(0 <= value <= 1 for value in values):
        raise ValueError(
            f"{type(transform).__name__}: expected fill in [0, 1], a number or one for each "
            f"channel, got {fill}; divide that of bytes by 255"
        )
    return values if listed else values[0]


def keep_fill(transform: Any) -> None:
    """Make a fill that is a list a tuple: transforms are hashed and compared."""
    if isinstance(transform.fill, list):
        object.__setattr__(transform, "fill", tuple(transform.fill))


def check_fill(where: str, fill: Any, images: jax.Array) -> None:
    """Raise unless there is one fill, or one for each channel."""
    if isinstance(fill, tuple | list) and len(fill) not in (1, images.shape[1]):
        raise ValueError(
            f"{where}: expected a fill for all or for each of {images.shape[1]} channels, got "
            f"{len(fill)}"
        )
