"""What the transforms do to the values of pixels, as pure functions of images and amounts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from fx.data.transforms.checks import check_images, each

GRAY = (0.2989, 0.587, 0.114)  # torchvision's rounding of ITU-R 601-2 luma


def normalize(images: jax.Array, mean: tuple[float, ...], std: tuple[float, ...]) -> jax.Array:
    """Return `(images - mean) / std`, channel by channel.

    Args:
        images: float `[N, C, H, W]`.
        mean: one number, or one for each channel.
        std: likewise.

    Returns:
        `[N, C, H, W]` in the images' dtype.

    Raises:
        ValueError: the images have another number of channels.
    """
    check_images("Normalize", images)
    if len(mean) not in (1, images.shape[1]):
        raise ValueError(
            f"Normalize: expected images [N, {len(mean)}, H, W] for {len(mean)} means, got "
            f"{list(images.shape)}; give one mean and std for each channel"
        )
    shift, scale = (jnp.asarray(x, images.dtype).reshape(-1, 1, 1) for x in (mean, std))
    return (images - shift) / scale


def rgb_to_grayscale(images: jax.Array) -> jax.Array:
    """Return the luma `[N, 1, H, W]` of RGB images; one channel stays as it is.

    Raises:
        ValueError: the images have neither 1 nor 3 channels.
    """
    check_images("rgb_to_grayscale", images)
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        raise ValueError(
            f"rgb_to_grayscale: expected images with 1 or 3 channels, got {list(images.shape)}; "
            "colour transforms know gray and RGB only"
        )
    red, green, blue = (images[:, i : i + 1] * weight for i, weight in enumerate(GRAY))
    return red + green + blue


def adjust_brightness(images: jax.Array, factor: ArrayLike) -> jax.Array:
    """Scale images: 0 is black, 1 changes nothing, 2 is twice as bright."""
    check_images("adjust_brightness", images)
    return _blend(images, jnp.zeros((), images.dtype), factor)


def adjust_contrast(images: jax.Array, factor: ArrayLike) -> jax.Array:
    """Move images from their mean luma: 0 is plain gray, 1 changes nothing."""
    mean = jnp.mean(rgb_to_grayscale(images), axis=(1, 2, 3), keepdims=True)
    return _blend(images, mean, factor)


def adjust_saturation(images: jax.Array, factor: ArrayLike) -> jax.Array:
    """Move images from their luma: 0 is black and white, 1 changes nothing."""
    return _blend(images, rgb_to_grayscale(images), factor)


def adjust_hue(images: jax.Array, factor: ArrayLike) -> jax.Array:
    """Turn the hue of RGB images by `factor` of the colour circle, in [-0.5, 0.5].

    Gray images (one channel) have no hue and come back as they are.
    """
    if rgb_to_grayscale(images) is images:
        return images
    red, green, blue = images[:, 0], images[:, 1], images[:, 2]
    high = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = high - jnp.minimum(jnp.minimum(red, green), blue)
    divisor = jnp.where(chroma == 0, 1, chroma)
    hue = jnp.where(
        high == red,
        (green - blue) / divisor,
        jnp.where(high == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = hue + 6 * each(jnp.asarray(factor, images.dtype))[..., 0]
    # HSV to RGB without its table of six cases: a channel falls from the highest value by the
    # chroma times a trapezium of its distance on the circle, and value * saturation is the chroma.
    channels = []
    for offset in (5, 3, 1):
        place = hue + offset
        place = place - 6 * jnp.floor(place / 6)
        fall = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
        channels.append(high - chroma * fall)
    return jnp.stack(channels, axis=1)


def jitter_color(images: jax.Array, factors: jax.Array, order: jax.Array) -> jax.Array:
    """Adjust brightness, contrast, saturation and hue of each image in an order of its own.

    Args:
        images: float `[N, 1 or 3, H, W]` in [0, 1].
        factors: float `[N, 4]`: of brightness, contrast, saturation and hue.
        order: int32 `[N, 4]`: a permutation of 0 to 3, the adjustment that comes first, second, ...

    Returns:
        `[N, C, H, W]`.
    """
    # Computing four adjustments in each of four places would cost sixteen. The first three are
    # one formula, so with hue in the middle six blends do, of which each image uses three.
    factors = factors.astype(images.dtype)
    hue_place = jnp.argmax(order == 3, axis=1, keepdims=True)  # [N, 1]
    place = jnp.arange(3, dtype=hue_place.dtype)[None]  # [1, 3]
    before = place < hue_place  # [N, 3]
    kinds = jnp.take_along_axis(order, jnp.where(before, place, place + 1), axis=1)  # [N, 3]
    amounts = jnp.take_along_axis(factors, kinds, axis=1)  # [N, 3]
    for i in range(3):
        images = _blend_kind(images, kinds[:, i], amounts[:, i], before[:, i])
    images = adjust_hue(images, factors[:, 3])
    for i in range(3):
        images = _blend_kind(images, kinds[:, i], amounts[:, i], ~before[:, i])
    return images


def _blend_kind(images, kind, amount, active):
    """Brightness (kind 0), contrast (1) or saturation (2) where active, all `[N]`."""
    rest = jnp.where(active, 1 - amount, 0)
    amount = jnp.where(active, amount, 1)
    gray = rgb_to_grayscale(images)
    mean = jnp.mean(gray, axis=(1, 2, 3), keepdims=True)
    to_mean = each(jnp.where(kind == 1, rest, 0))
    to_gray = each(jnp.where(kind == 2, rest, 0))
    return jnp.clip(each(amount) * images + to_mean * mean + to_gray * gray, 0, 1)


def _blend(images, other, factor):
    factor = each(jnp.asarray(factor, images.dtype))
    return jnp.clip(factor * images + (1 - factor) * other, 0, 1)


def gaussian_blur(
    images: jax.Array, kernel_size: int | tuple[int, int], sigma: ArrayLike | None = None
) -> jax.Array:
    """Blur images by a Gaussian; the border is mirrored.

    Args:
        images: float `[N, C, H, W]`.
        kernel_size: its width and height in pixels, odd, or one number for both.
        sigma: standard deviation in pixels, a number or `[N]`; None is 0.15 * kernel_size + 0.35,
            of width and height each by itself.

    Returns:
        `[N, C, H, W]` in the images' dtype.

    Raises:
        ValueError: an even kernel, or one of which half is not less than an image.

    Source:
        `torchvision.transforms.functional.gaussian_blur`.
    """
    check_images("gaussian_blur", images)
    sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    for axis, size in zip((3, 2), sizes):
        if size < 1 or size % 2 == 0 or size // 2 >= images.shape[axis]:
            raise ValueError(
                f"gaussian_blur: expected a kernel_size of odd numbers, of which half is less than "
                f"the images' size, got {kernel_size} for images {list(images.shape)}"
            )
        images = _blurred(images, axis, size, 0.15 * size + 0.35 if sigma is None else sigma)
    return images


def _blurred(images, axis, size, sigma):
    """Along one axis; a sum of shifted images, since each image has a kernel of its own."""
    half = size // 2
    places = jnp.arange(-half, half + 1, dtype=jnp.float32)
    kernel = jnp.exp(-0.5 * (places / jnp.asarray(sigma, jnp.float32).reshape(-1, 1)) ** 2)
    kernel = kernel / jnp.sum(kernel, axis=1, keepdims=True)  # [N or 1, size]
    widths = [(half, half) if i == axis else (0, 0) for i in range(4)]
    padded, length = jnp.pad(images, widths, mode="reflect"), images.shape[axis]
    shifted = (jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(size))
    total = sum(each(kernel[:, i]) * image.astype(jnp.float32) for i, image in enumerate(shifted))
    return jnp.asarray(total, images.dtype)


def erase(
    images: jax.Array,
    top: ArrayLike,
    left: ArrayLike,
    height: ArrayLike,
    width: ArrayLike,
    value: ArrayLike = 0.0,
) -> jax.Array:
    """Put `value` in place of a window of each image.

    Args:
        images: float `[N, C, H, W]`.
        top: the first row, a number or `[N]`.
        left: the first column, likewise.
        height: how many rows, likewise; 0 erases nothing.
        width: how many columns, likewise.
        value: what goes with `[N, C, H, W]`: a number, `[C, 1, 1]`, or whole images.

    Returns:
        `[N, C, H, W]`.

    Source:
        `torchvision.transforms.functional.erase`.
    """
    check_images("erase", images)
    rows, columns = (jnp.arange(n, dtype=jnp.int32) for n in images.shape[2:])
    top, left, height, width = (each(jnp.asarray(x)) for x in (top, left, height, width))
    down = (rows[:, None] >= top) & (rows[:, None] < top + height)
    across = (columns >= left) & (columns < left + width)
    return jnp.where(down & across, jnp.asarray(value, images.dtype), images)
