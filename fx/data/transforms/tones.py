"""What the transforms do to tones: inversion, levels, contrast and sharpness, as pure functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from fx.data.transforms.checks import check_channels, each

_ROUNDING = 1e-6
"""Far less than a 255th: 128 / 255 is met by a byte of 128, however either was divided."""


def to_bytes(images: jax.Array) -> jax.Array:
    """Images in [0, 1] as uint8, each value the nearest of 256."""
    return jnp.round(jnp.clip(images.astype(jnp.float32), 0, 1) * 255).astype(jnp.uint8)


def from_bytes(images: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """What `ToTensor` makes of bytes, in a floating point dtype."""
    return (images.astype(jnp.float32) / 255).astype(dtype)


def invert(images: jax.Array) -> jax.Array:
    """Turn light to dark: `1 - images`.

    Example:
        >>> invert(jnp.full((1, 1, 1, 1), 0.25)).item()
        0.75

    Source:
        `torchvision.transforms.functional.invert`.
    """
    check_channels("invert", images)
    return 1 - images


def solarize(images: jax.Array, threshold: ArrayLike) -> jax.Array:
    """Invert what is as light as `threshold`, in [0, 1], or lighter; a number or `[N]`.

    Example:
        >>> solarize(jnp.array([0.25, 0.75]).reshape(1, 1, 1, 2), 0.5).tolist()
        [[[[0.25, 0.25]]]]

    Source:
        `torchvision.transforms.functional.solarize`, on float tensors; of bytes its threshold is
        255 times as much.
    """
    check_channels("solarize", images)
    threshold = each(jnp.asarray(threshold, jnp.float32)) - _ROUNDING
    return jnp.where(images.astype(jnp.float32) >= threshold, 1 - images, images)


def posterize(images: jax.Array, bits: ArrayLike) -> jax.Array:
    """Keep the highest `bits` (0 to 8) of each value's eight.

    Args:
        images: float `[N, 1 or 3, H, W]` in [0, 1]; each value stands for the nearest of 256.
        bits: a whole number, or int32 `[N]`.

    Returns:
        `[N, C, H, W]` in the images' dtype.

    Example:
        >>> round(255 * posterize(jnp.full((1, 1, 1, 1), 255 / 255), 3).item())
        224

    Source:
        `torchvision.transforms.functional.posterize`, which takes bytes alone.
    """
    check_channels("posterize", images)
    return from_bytes(to_bytes(images) & highest(jnp.asarray(bits, jnp.int32)), images.dtype)


def highest(bits: jax.Array) -> jax.Array:
    """Bytes of which as many bits are set, from the top: uint8 `[N or 1, 1, 1, 1]`."""
    return each(256 - jnp.left_shift(1, 8 - bits)).astype(jnp.uint8)


def adjust_sharpness(images: jax.Array, factor: ArrayLike) -> jax.Array:
    """Move images from a smoothed one: 0 is smooth, 1 changes nothing, 2 is twice as sharp.

    Args:
        images: float `[N, 1 or 3, H, W]` in [0, 1]; the outermost pixels stay, and so do images of
            fewer than three rows or columns.
        factor: a number, or `[N]`.

    Returns:
        `[N, C, H, W]`.

    Example:
        >>> image = jnp.zeros((1, 1, 3, 3)).at[0, 0, 1, 1].set(0.13)
        >>> round(adjust_sharpness(image, 0)[0, 0, 1, 1].item(), 4)
        0.05

    Source:
        `torchvision.transforms.functional.adjust_sharpness`, on float tensors.
    """
    check_channels("adjust_sharpness", images)
    if min(images.shape[2:]) <= 2:
        return images
    factor = each(jnp.asarray(factor, images.dtype))
    smooth = edged(images, weighted(images) / 13)
    return jnp.clip(factor * images + (1 - factor) * smooth, 0, 1)


def weighted(images: jax.Array) -> jax.Array:
    """The sum of each pixel's eight neighbours and five times itself: `[N, C, H - 2, W - 2]`."""
    across = images[..., :-2] + images[..., 1:-1] + images[..., 2:]
    square = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]
    return square + 4 * images[..., 1:-1, 1:-1]


def edged(images: jax.Array, inner: jax.Array) -> jax.Array:
    """Images with other pixels within their outermost ones."""
    return jnp.asarray(images).at[..., 1:-1, 1:-1].set(inner)


def autocontrast(images: jax.Array) -> jax.Array:
    """Stretch each channel of each image `[N, 1 or 3, H, W]` from 0 to 1; a plain one stays.

    Example:
        >>> autocontrast(jnp.array([0.25, 0.5, 0.75]).reshape(1, 1, 1, 3)).tolist()
        [[[[0.0, 0.5, 1.0]]]]

    Source:
        `torchvision.transforms.functional.autocontrast`, on float tensors.
    """
    check_channels("autocontrast", images)
    low, scale = stretch(images, 1)
    return jnp.clip((images - low) * scale, 0, 1)


def stretch(values: jax.Array, bound: float) -> tuple[jax.Array, jax.Array]:
    """What to subtract and then to multiply by to reach from 0 to `bound`: `[N, C, 1, 1]`."""
    low = jnp.min(values, axis=(2, 3), keepdims=True)
    high = jnp.max(values, axis=(2, 3), keepdims=True)
    plain = low == high
    # The inverse first, as torch divides a number by a tensor: it rounds twice, and bytes show it.
    scale = 1 / jnp.where(plain, 1, high - low) * bound
    return jnp.where(plain, 0, low), jnp.where(plain, 1, scale)


def equalize(images: jax.Array) -> jax.Array:
    """Spread the values of each channel of each image evenly over [0, 1].

    Args:
        images: float `[N, 1 or 3, H, W]` in [0, 1]; each value stands for the nearest of 256.

    Returns:
        `[N, C, H, W]` in the images' dtype.

    Example:
        >>> images = jnp.arange(1024.0).reshape(1, 1, 32, 32) / 4096  # up to a quarter
        >>> equalize(images).max().item()
        1.0

    Source:
        `torchvision.transforms.functional.equalize`, which takes bytes alone.
    """
    check_channels("equalize", images)
    return from_bytes(equalized(to_bytes(images)), images.dtype)


def equalized(images: jax.Array) -> jax.Array:
    """Equalize uint8 `[N, C, H, W]`."""
    n, channels, height, width = images.shape
    flat = images.reshape(n * channels, height * width)
    count = jnp.zeros((n * channels, 256), jnp.int32)
    rows = jnp.arange(n * channels)[:, None]
    count = count.at[rows, flat].add(1, mode="promise_in_bounds")
    # torchvision spreads all pixels but those of the lightest value that there is.
    lightest = jnp.max(flat, axis=1, keepdims=True)
    rest = height * width - jnp.take_along_axis(count, lightest.astype(jnp.int32), axis=1)
    step = rest // 255
    darker = jnp.cumsum(count, axis=1) - count  # how many pixels are darker than a value
    table = jnp.minimum((darker + step // 2) // jnp.maximum(step, 1), 255).astype(jnp.uint8)
    table = jnp.where(step == 0, jnp.arange(256, dtype=jnp.uint8), table)
    found = jnp.take_along_axis(table, flat.astype(jnp.int32), axis=1, mode="promise_in_bounds")
    return found.reshape(images.shape)
