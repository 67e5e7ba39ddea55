"""What the transforms do to images, as pure functions of images and amounts.

Images are float `[N, C, H, W]` in [0, 1]; an amount is a number for all of them or an array `[N]`
with one for each. The names and formulas are those of `torchvision.transforms.functional` on
tensors, which takes one image or one amount at a time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

_GRAY = (0.2989, 0.587, 0.114)  # torchvision's rounding of ITU-R 601-2 luma


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


def hflip(images: jax.Array, flip: ArrayLike = True) -> jax.Array:
    """Mirror images left to right where `flip` (bool, or bool `[N]`) says so."""
    check_images("hflip", images)
    return jnp.where(_each(jnp.asarray(flip, bool)), images[..., ::-1], images)


def crop(images: jax.Array, top: jax.Array, left: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Cut a window of `size` (height, width) out of each image.

    Args:
        images: float `[N, C, H, W]`.
        top: int32 `[N]`, the first row of each window.
        left: int32 `[N]`, the first column of each window.
        size: height and width of the windows, at most H and W.

    Returns:
        `[N, C, height, width]`.
    """
    check_images("crop", images)

    def cut(image, row, column):
        return jax.lax.dynamic_slice(image, (0, row, column), (image.shape[0], *size))

    return jax.vmap(cut)(images, top, left)


def rotate(
    images: jax.Array,
    angle: ArrayLike,
    interpolation: str = "nearest",
    center: tuple[float, float] | None = None,
    fill: float | tuple[float, ...] | None = None,
) -> jax.Array:
    """Rotate images about their centre, keeping their size.

    Args:
        images: float `[N, C, H, W]`.
        angle: degrees counter-clockwise, a number or `[N]`.
        interpolation: "nearest" or "bilinear".
        center: x and y of the fixed point in pixels from the top left corner; None is the middle.
        fill: the value outside of the image, a number or one for each channel. None is 0, which
            "bilinear" mixes into the border once; a number, 0.0 as well, it mixes in twice.

    Returns:
        `[N, C, H, W]` in the images' dtype.

    Raises:
        ValueError: `interpolation` is another word.

    Example:
        >>> image = jnp.array([[0.0, 1.0], [2.0, 3.0]])[None, None]
        >>> rotate(image, 90)[0, 0].tolist()
        [[1.0, 3.0], [0.0, 2.0]]

    Source:
        `torchvision.transforms.functional.rotate` with expand=False. Where a pixel comes from
        exactly between two others, as at 90 degrees where the height is odd and the width even,
        rounding errors choose the nearest one, here as there, and not always the same.
    """
    check_images("rotate", images)
    height, width = images.shape[2:]
    x, y = _rotated_grid(jnp.asarray(angle, jnp.float32), height, width, center)
    outside = jnp.asarray(0 if fill is None else fill, images.dtype).reshape(-1, 1, 1)
    if interpolation == "nearest":
        sample, weight = _sample(images, jnp.round(x), jnp.round(y))
        return jnp.where(weight > 0, sample, outside)
    if interpolation != "bilinear":
        raise ValueError(
            f'rotate: expected interpolation "nearest" or "bilinear", got {interpolation!r}'
        )
    left, above = jnp.floor(x), jnp.floor(y)
    dx, dy = x - left, y - above
    result, cover = jnp.zeros_like(images), jnp.zeros_like(images[:, :1])
    for column, wx in ((left, 1 - dx), (left + 1, dx)):
        for row, wy in ((above, 1 - dy), (above + 1, dy)):
            sample, inside = _sample(images, column, row)
            share = (wx * wy)[:, None].astype(images.dtype) * inside
            result, cover = result + share * sample, cover + share
    if fill is None:
        return result
    # `result` is weighted by `cover` already, and torchvision weights it once more.
    return result * cover + (1 - cover) * outside


def _rotated_grid(angle, height, width, center):
    """Where each pixel of the output comes from: x and y, float32 `[N or 1, H, W]`."""
    # torch's pixel centres stand at half-integers, hence the 0.5.
    cx, cy = (width / 2, height / 2) if center is None else center
    x = jnp.arange(width, dtype=jnp.float32) + (0.5 - cx)  # [W]
    y = jnp.arange(height, dtype=jnp.float32)[:, None] + (0.5 - cy)  # [H, 1]
    radians = jnp.deg2rad(angle).reshape(-1, 1, 1)
    cos, sin = jnp.cos(radians), jnp.sin(radians)
    return cos * x - sin * y + (cx - 0.5), sin * x + cos * y + (cy - 0.5)


def _sample(images, x, y):
    """The pixels at integral x and y `[N or 1, H, W]`, and 1 or 0 for inside or outside."""
    n, channels, height, width = images.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = jnp.where(inside, y * width + x, 0).astype(jnp.int32).reshape(len(x), 1, -1)
    index = jnp.broadcast_to(index, (n, 1, height * width))
    flat = images.reshape(n, channels, height * width)
    pixels = jnp.take_along_axis(flat, index, axis=2, mode="promise_in_bounds")
    return pixels.reshape(images.shape), inside[:, None].astype(images.dtype)


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
    red, green, blue = (images[:, i : i + 1] * weight for i, weight in enumerate(_GRAY))
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
    hue = hue + 6 * _each(jnp.asarray(factor, images.dtype))[..., 0]
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
    to_mean = _each(jnp.where(kind == 1, rest, 0))
    to_gray = _each(jnp.where(kind == 2, rest, 0))
    return jnp.clip(_each(amount) * images + to_mean * mean + to_gray * gray, 0, 1)


def _blend(images, other, factor):
    factor = _each(jnp.asarray(factor, images.dtype))
    return jnp.clip(factor * images + (1 - factor) * other, 0, 1)


def _each(amount: jax.Array) -> jax.Array:
    """An amount for each image, or one for all, against `[N, C, H, W]`."""
    return amount.reshape(-1, 1, 1, 1)
