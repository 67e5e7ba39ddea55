"""Transforms for training and evaluation alike: of dtype, scale, size and colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from fx.data.transforms import functional
from fx.data.transforms.checks import as_size, check_images


@dataclasses.dataclass(frozen=True)
class ToTensor:
    """Turn uint8 images `[N, H, W, C]` into float32 `[N, C, H, W]` in [0, 1].

    Floating point images `[N, H, W, C]` keep their dtype and their values, and only the channel
    axis moves.

    Raises:
        TypeError: the images are neither uint8 nor floating point.
        ValueError: they do not have four axes with the channels last.

    Source:
        `torchvision.transforms.ToTensor`.
    """

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Convert a batch; the key is not used."""
        images = jnp.asarray(images)
        if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
            raise TypeError(
                f"ToTensor: expected uint8 or float images [N, H, W, C], got {images.dtype}; "
                "convert 0 to 255 with astype(np.uint8)"
            )
        shape = images.shape
        if images.ndim != 4 or (shape[1] in (1, 3) and shape[3] > 4):
            raise ValueError(
                f"ToTensor: expected images [N, H, W, C], got {list(shape)}; "
                "keep images channels-last until here, and give one image as image[None]"
            )
        if images.dtype == jnp.uint8:
            images = images.astype(jnp.float32) / 255
        return images.transpose(0, 3, 1, 2)  # [N, C, H, W]


@dataclasses.dataclass(frozen=True)
class Normalize:
    """Subtract the mean and divide by the standard deviation of each channel.

    Args:
        mean: a number, or one for each channel.
        std: likewise, above 0.

    Raises:
        ValueError: `std` is not positive, or the two differ in length.

    Source:
        `torchvision.transforms.Normalize`.
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]

    def __post_init__(self) -> None:
        mean, std = (
            (float(x),) if isinstance(x, int | float) else tuple(map(float, x))
            for x in (self.mean, self.std)
        )
        if len(mean) != len(std) or min(std, default=0) <= 0:
            raise ValueError(
                f"Normalize: expected as many means as standard deviations above 0, got mean "
                f"{mean} and std {std}; a channel that never varies needs std 1"
            )
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Normalise a batch; the key is not used."""
        return functional.normalize(images, self.mean, self.std)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Resize:
    """Resize images.

    Args:
        size: height and width; or one number, to which the shorter side is resized, and the longer
            one by as much.
        interpolation: "nearest", "bilinear", or, with antialias, "bicubic".
        max_size: the longer side is at most this; only where `size` is one number, and less.
        antialias: widen the filter where images become smaller.

    Raises:
        ValueError: `max_size` does not go with `size`, or `interpolation` is another word.

    Source:
        `torchvision.transforms.Resize`, on tensors.
    """

    size: int | tuple[int, int]
    interpolation: str = "bilinear"
    max_size: int | None = None
    antialias: bool = True

    def __post_init__(self) -> None:
        size = as_size("Resize", self.size)
        object.__setattr__(self, "size", size if isinstance(self.size, Iterable) else size[0])
        if self.max_size is not None and not (
            isinstance(self.size, int) and self.size < self.max_size
        ):
            raise ValueError(
                f"Resize: expected max_size with one number for size, and above it, got size "
                f"{self.size} and max_size {self.max_size}"
            )

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Resize a batch; the key is not used."""
        check_images("Resize", images)
        size = self.size
        if isinstance(size, int):
            rows, columns = images.shape[2:]
            short, long = size, int(size * max(rows, columns) / min(rows, columns))
            if self.max_size is not None and long > self.max_size:
                short, long = int(self.max_size * short / long), self.max_size
            size = (short, long) if rows <= columns else (long, short)
        return functional.resize(images, size, self.interpolation, self.antialias)


@dataclasses.dataclass(frozen=True)
class CenterCrop:
    """Cut a window out of the middle of each image; what is smaller gets a border of 0.

    Args:
        size: height and width, or one number for both.

    Source:
        `torchvision.transforms.CenterCrop`.
    """

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("CenterCrop", self.size))

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Crop a batch; the key is not used."""
        return functional.center_crop(images, self.size)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Grayscale:
    """Turn RGB images to gray ones, `[N, num_output_channels, H, W]`.

    Args:
        num_output_channels: 1, or 3 that are alike.

    Raises:
        ValueError: another number; when called, images that have neither 1 nor 3 channels.

    Source:
        `torchvision.transforms.Grayscale`.
    """

    num_output_channels: int = 1

    def __post_init__(self) -> None:
        if self.num_output_channels not in (1, 3):
            raise ValueError(
                f"Grayscale: expected num_output_channels of 1 or 3, got {self.num_output_channels}"
            )

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Convert a batch; the key is not used."""
        gray = functional.rgb_to_grayscale(images)
        return jnp.repeat(gray[:, :1], self.num_output_channels, axis=1)
