"""What the transforms do to where pixels are, as pure functions of images and amounts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from fx.data.transforms.checks import check_fill, check_images, each


def hflip(images: jax.Array, flip: ArrayLike = True) -> jax.Array:
    """Mirror images left to right where `flip` (bool, or bool `[N]`) says so."""
    check_images("hflip", images)
    return jnp.where(each(jnp.asarray(flip, bool)), images[..., ::-1], images)


def vflip(images: jax.Array, flip: ArrayLike = True) -> jax.Array:
    """Mirror images top to bottom where `flip` (bool, or bool `[N]`) says so."""
    check_images("vflip", images)
    return jnp.where(each(jnp.asarray(flip, bool)), images[..., ::-1, :], images)


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
        start = jnp.zeros_like(row), row, column
        return jax.lax.dynamic_slice(image, start, (image.shape[0], *size))

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
    return warped("rotate", images, x, y, interpolation, fill)


def affine(
    images: jax.Array,
    angle: ArrayLike,
    translate: tuple[ArrayLike, ArrayLike],
    scale: ArrayLike,
    shear: tuple[ArrayLike, ArrayLike],
    interpolation: str = "nearest",
    fill: float | tuple[float, ...] | None = None,
    center: tuple[float, float] | None = None,
) -> jax.Array:
    """Rotate, scale, shear and shift images, keeping their size.

    Args:
        images: float `[N, C, H, W]`.
        angle: degrees clockwise, a number or `[N]`.
        translate: pixels to the right and downward, each a number or `[N]`.
        scale: a factor above 0, a number or `[N]`.
        shear: degrees along x and along y, each a number or `[N]`.
        interpolation: "nearest" or "bilinear".
        fill: as for `rotate`.
        center: x and y of the fixed point in pixels from the top left corner; None is the middle.

    Returns:
        `[N, C, H, W]` in the images' dtype.

    Raises:
        ValueError: `interpolation` is another word.

    Example:
        >>> image = jnp.array([[0.0, 1.0], [2.0, 3.0]])[None, None]
        >>> affine(image, 0, (1, 0), 1, (0, 0))[0, 0].tolist()
        [[0.0, 0.0], [0.0, 2.0]]

    Source:
        `torchvision.transforms.functional.affine`.
    """
    check_images("affine", images)
    height, width = images.shape[2:]
    amounts = (angle, *translate, scale, *shear)
    angle, tx, ty, scale, along_x, along_y = (
        jnp.asarray(amount, jnp.float32).reshape(-1, 1, 1) for amount in amounts
    )
    turn, sx, sy = map(jnp.deg2rad, (angle, along_x, along_y))
    a = jnp.cos(turn - sy) / jnp.cos(sy)
    c = jnp.sin(turn - sy) / jnp.cos(sy)
    b = -a * jnp.tan(sx) - jnp.sin(turn)
    d = -c * jnp.tan(sx) + jnp.cos(turn)  # the map is [[a, b], [c, d]] * scale, of determinant 1
    cx, cy = (width / 2, height / 2) if center is None else center
    x = jnp.arange(width, dtype=jnp.float32) + (0.5 - cx) - tx
    y = jnp.arange(height, dtype=jnp.float32)[:, None] + (0.5 - cy) - ty
    across = (d * x - b * y) / scale + (cx - 0.5)
    down = (a * y - c * x) / scale + (cy - 0.5)
    return warped("affine", images, across, down, interpolation, fill)


def perspective(
    images: jax.Array,
    startpoints: ArrayLike,
    endpoints: ArrayLike,
    interpolation: str = "bilinear",
    fill: float | tuple[float, ...] | None = None,
) -> jax.Array:
    """See images as if their plane were tilted, keeping their size.

    Args:
        images: float `[N, C, H, W]`.
        startpoints: x and y in pixels of four corners of a quadrilateral, clockwise from the top
            left: `[4, 2]`, or `[N, 4, 2]`.
        endpoints: where those are moved to, likewise.
        interpolation: "nearest" or "bilinear".
        fill: as for `rotate`.

    Returns:
        `[N, C, H, W]` in the images' dtype.

    Raises:
        ValueError: `interpolation` is another word, or there are not four corners.

    Example:
        >>> image = jnp.array([[0.0, 1.0], [2.0, 3.0]])[None, None]
        >>> corners = jnp.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        >>> perspective(image, corners, corners + jnp.array([1, 0]))[0, 0].tolist()
        [[0.0, 0.0], [0.0, 2.0]]

    Source:
        `torchvision.transforms.functional.perspective`, on float tensors.
    """
    check_images("perspective", images)
    height, width = images.shape[2:]
    middle = jnp.array([width / 2, height / 2], jnp.float32)
    # From the middle, since products of smaller numbers lose less.
    start, end = (_projection(points, middle) for points in (startpoints, endpoints))
    with jax.default_matmul_precision("highest"):
        a, b, c, d, e, f, g, h, i = (start @ _adjugate(end)).reshape(-1, 9, 1, 1).swapaxes(0, 1)
    x = jnp.arange(width, dtype=jnp.float32) + (0.5 - width / 2)
    y = jnp.arange(height, dtype=jnp.float32)[:, None] + (0.5 - height / 2)
    depth = g * x + h * y + i
    horizon = depth == 0  # where nothing of the plane is seen

    def place(whole, side):
        found = whole / jnp.where(horizon, 1, depth) + (side / 2 - 0.5)
        return jnp.where(horizon, -2, jnp.clip(found, -2, side + 1))  # those ends are outside

    across, down = place(a * x + b * y + c, width), place(d * x + e * y + f, height)
    return warped("perspective", images, across, down, interpolation, fill)


def _projection(points, middle):
    """What takes a unit square to four corners, seen from the middle: `[N or 1, 3, 3]`."""
    points = jnp.asarray(points, jnp.float32)
    if points.shape[-2:] != (4, 2) or points.ndim > 3:
        raise ValueError(
            "perspective: expected four corners (x, y), [4, 2] or [N, 4, 2], got "
            f"{list(points.shape)}"
        )
    one, two, three, four = (points.reshape(-1, 4, 2) - middle).swapaxes(0, 1)  # [N or 1, 2] each
    right, below, off = two - three, four - three, one - two + three - four

    def cross(u, v):
        return (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])[:, None]

    # Heckbert's formulas (1989, section 2.2.3), times their divisor.
    divisor, g, h = cross(right, below), cross(off, below), cross(right, off)
    across, down = (two - one) * divisor + g * two, (four - one) * divisor + h * four
    last = jnp.stack([g, h, divisor], axis=2)  # [N or 1, 1, 3]
    return jnp.concatenate([jnp.stack([across, down, one * divisor], axis=2), last], axis=1)


def _adjugate(m):
    """The inverse of matrices `[..., 3, 3]` times their determinants."""
    rows = [jnp.cross(m[..., (i + 1) % 3, :], m[..., (i + 2) % 3, :]) for i in range(3)]
    return jnp.stack(rows, axis=-1)


def center_crop(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Cut `size` (height, width) out of the middle; what is smaller gets a border of 0.

    Source:
        `torchvision.transforms.functional.center_crop`.
    """
    check_images("center_crop", images)
    lack = [max(0, want - have) for want, have in zip(size, images.shape[2:])]
    widths = [(n // 2, (n + 1) // 2) for n in lack]
    images = jnp.pad(images, ((0, 0), (0, 0), *widths)) if any(lack) else images
    top, left = (round((have - want) / 2) for want, have in zip(size, images.shape[2:]))
    return images[:, :, top : top + size[0], left : left + size[1]]


def resize(
    images: jax.Array,
    size: tuple[int, int],
    interpolation: str = "bilinear",
    antialias: bool = True,
) -> jax.Array:
    """Resize images to `size` (height, width); see `resized_crop`.

    Source:
        `torchvision.transforms.functional.resize`.
    """
    check_images("resize", images)
    height, width = images.shape[2:]
    return resized_crop(images, 0, 0, height, width, size, interpolation, antialias)


def resized_crop(
    images: jax.Array,
    top: ArrayLike,
    left: ArrayLike,
    height: ArrayLike,
    width: ArrayLike,
    size: tuple[int, int],
    interpolation: str = "bilinear",
    antialias: bool = True,
) -> jax.Array:
    """Cut a window out of each image, and resize it to `size`.

    The windows may differ in size: each row and column of the result is a weighted mean of an
    image's, and the weights are a matrix for each image.

    Args:
        images: float `[N, C, H, W]`.
        top: the window's first row, a number or int32 `[N]`.
        left: its first column, likewise.
        height: its rows, likewise.
        width: its columns, likewise.
        size: height and width of the result.
        interpolation: "nearest", "bilinear", or, with antialias, "bicubic".
        antialias: widen the filter where the result is smaller than the window; not of "nearest".

    Returns:
        `[N, C, *size]` in the images' dtype.

    Raises:
        ValueError: `interpolation` is another word, or "bicubic" without antialias.

    Example:
        >>> images = jnp.arange(16.0).reshape(1, 1, 4, 4)
        >>> resized_crop(images, 0, 2, 2, 2, (1, 1))[0, 0].tolist()
        [[4.5]]

    Source:
        `torchvision.transforms.functional.resized_crop`, on tensors.
    """
    check_images("resized_crop", images)
    if interpolation not in ("nearest", "bilinear", "bicubic"):
        raise ValueError(
            'resized_crop: expected interpolation "nearest", "bilinear" or "bicubic", got '
            f"{interpolation!r}"
        )
    if interpolation == "bicubic" and not antialias:
        raise ValueError('resized_crop: expected antialias=True with "bicubic"')
    rows = _weights(top, height, images.shape[2], size[0], interpolation, antialias)
    columns = _weights(left, width, images.shape[3], size[1], interpolation, antialias)
    with jax.default_matmul_precision("highest"):
        result = rows[:, None] @ images.astype(jnp.float32) @ columns[:, None].mT
    return result.astype(images.dtype)


def _weights(start, length, total, count, interpolation, antialias):
    """What each of `total` pixels of a window gives to each of `count`: float32 [N or 1, ...]."""
    start, length = (jnp.asarray(x, jnp.float32).reshape(-1, 1, 1) for x in (start, length))
    step, pixels = length / count, jnp.arange(total, dtype=jnp.float32)
    places = jnp.arange(count, dtype=jnp.float32)[:, None]
    if interpolation == "nearest":
        return (pixels == start + jnp.floor(places * step)).astype(jnp.float32)
    wide = jnp.maximum(step, 1) if antialias else 1.0
    apart = jnp.abs(pixels + 0.5 - (start + (places + 0.5) * step)) / wide
    weight = jnp.maximum(1 - apart, 0) if interpolation == "bilinear" else _cubic(apart)
    weight = jnp.where((pixels >= start) & (pixels < start + length), weight, 0)
    return weight / jnp.sum(weight, axis=2, keepdims=True)


def _cubic(x):
    """Keys' kernel with a = -0.5, Pillow's."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return jnp.where(x < 1, near, jnp.where(x < 2, far, 0))


def warped(where, images, x, y, interpolation, fill):
    """Images whose pixels come from x and y, float32 `[N or 1, H, W]`."""
    check_fill(where, fill, images)
    if not len(images):
        return images
    outside = jnp.asarray(0 if fill is None else fill, images.dtype).reshape(-1, 1, 1)
    if interpolation == "nearest":
        sample, weight = _sample(images, jnp.round(x), jnp.round(y))
        return jnp.where(weight > 0, sample, outside)
    if interpolation != "bilinear":
        raise ValueError(
            f'{where}: expected interpolation "nearest" or "bilinear", got {interpolation!r}'
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
