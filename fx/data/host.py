"""Augmentation on the host: whole batches of uint8 images as NumPy operations.

For data that is prepared on the host, in a loader's `batch_transform`. The transforms in
`fx.data.transforms` do the same on the device, compiled into the step, and know more.
"""

from __future__ import annotations

import numpy as np

__all__ = ["random_crop", "random_horizontal_flip"]


def random_crop(
    images: np.ndarray,
    rng: np.random.Generator,
    size: int | tuple[int, int],
    padding: int = 0,
    fill: float = 0,
) -> np.ndarray:
    """Cut a window at random out of each image, after padding.

    Args:
        images: `[N, H, W, C]`, of any dtype.
        rng: where the places come from.
        size: height and width of the windows, or one number for both.
        padding: pixels on all sides.
        fill: the value of the padding.

    Returns:
        `[N, height, width, C]`, new memory.

    Raises:
        ValueError: images do not have four axes, or are smaller than `size` after padding.

    Example:
        >>> images = np.arange(18, dtype=np.uint8).reshape(2, 3, 3, 1)
        >>> random_crop(images, np.random.default_rng(0), 2).shape
        (2, 2, 2, 1)

    Source:
        `torchvision.transforms.RandomCrop`, each image with a place of its own.
    """
    _check("random_crop", images)
    height, width = (size, size) if isinstance(size, int) else size
    if padding:
        images = _pad(images, padding, fill)
    images = np.ascontiguousarray(images)
    n, rows, columns, channels = images.shape
    if min(height, width) < 1 or rows < height or columns < width:
        raise ValueError(
            f"random_crop: expected images of at least {height}x{width} after padding, got "
            f"{rows}x{columns}; give padding="
        )
    top = rng.integers(0, rows - height + 1, n)
    left = rng.integers(0, columns - width + 1, n)
    # All windows of all images as a view; choosing one of each copies whole rows of pixels.
    by_image, by_row, by_column, by_channel = images.strides
    windows = np.lib.stride_tricks.as_strided(
        images,
        (n, rows - height + 1, columns - width + 1, height, width * channels),
        (by_image, by_row, by_column, by_row, by_channel),
        writeable=False,
    )
    return windows[np.arange(n), top, left].reshape(n, height, width, channels)


def random_horizontal_flip(
    images: np.ndarray, rng: np.random.Generator, p: float = 0.5
) -> np.ndarray:
    """Mirror each image left to right with probability `p`.

    Args:
        images: `[N, H, W, C]`, of any dtype.
        rng: where the choice comes from.
        p: the probability.

    Returns:
        `[N, H, W, C]`, new memory.

    Raises:
        ValueError: images do not have four axes, or `p` is not in [0, 1].

    Example:
        >>> images = np.arange(3, dtype=np.uint8).reshape(1, 1, 3, 1)
        >>> random_horizontal_flip(images, np.random.default_rng(0), p=1.0).ravel()
        array([2, 1, 0], dtype=uint8)

    Source:
        `torchvision.transforms.RandomHorizontalFlip`.
    """
    _check("random_horizontal_flip", images)
    if not 0 <= p <= 1:
        raise ValueError(f"random_horizontal_flip: expected p in [0, 1], got {p}")
    flipped = np.array(images, order="C")
    chosen = np.flatnonzero(rng.random(len(images)) < p)
    before = flipped[chosen]
    after = np.empty_like(before)
    if images.shape[-1] > 4:
        after[:] = before[:, :, ::-1]
    else:  # a channel at a time: two thirds of the time, where pixels are of a few values
        for channel in range(images.shape[-1]):
            after[..., channel] = before[:, :, ::-1, channel]
    flipped[chosen] = after
    return flipped


def _check(where: str, images: np.ndarray) -> None:
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        shape = list(images.shape) if hasattr(images, "shape") else type(images).__name__
        raise ValueError(f"{where}: expected NumPy images [N, H, W, C], got {shape}")


def _pad(images: np.ndarray, padding: int, fill: float) -> np.ndarray:
    # np.pad takes several times as long.
    n, height, width, channels = images.shape
    shape = (n, height + 2 * padding, width + 2 * padding, channels)
    padded = np.full(shape, fill, images.dtype) if fill else np.zeros(shape, images.dtype)
    padded[:, padding : padding + height, padding : padding + width] = images
    return padded
