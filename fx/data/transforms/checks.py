"""What the transforms ask of images, keys and arguments."""

from __future__ import annotations

from typing import Any

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


def need_key(key: jax.Array | None, transform: object) -> jax.Array:
    """Return the key, or raise where a random transform has none."""
    if key is None:
        raise ValueError(
            f"{type(transform).__name__}: expected a PRNG key, got key=None; pass "
            "key=jax.random.key(seed), or for evaluation use a Compose without random transforms"
        )
    return key


def check_p(transform: Any) -> None:
    """Raise unless the probability `p` of a transform is one."""
    if not 0 <= transform.p <= 1:
        raise ValueError(f"{type(transform).__name__}: expected p in [0, 1], got {transform.p}")


def check_range(where: str, name: str, given: Any, least: float = float("-inf")) -> None:
    """Raise unless a range is two numbers, not below `least`, the smaller one first."""
    if len(given) != 2 or not least <= given[0] <= given[1]:
        raise ValueError(
            f"{where}: expected {name} of two numbers, the smaller first"
            f"{f', of {least:.3g} or more' * (least >= 0)}, got {given}"
        )


def sizes(where: str, size: Any) -> tuple[int, int]:
    """Height and width, of the two or of one number for both.

    Raises:
        ValueError: they are not one or two whole numbers of 1 or more.
    """
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int) and n >= 1 for n in pair):
        raise ValueError(
            f"{where}: expected size (height, width), or a number for both, got {size!r}"
        )
    return pair


def each(amount: jax.Array) -> jax.Array:
    """An amount for each image, or one for all, against `[N, C, H, W]`."""
    return amount.reshape(-1, 1, 1, 1)
