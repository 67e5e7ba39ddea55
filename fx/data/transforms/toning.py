"""Random transforms of tones: inversion, levels, contrast and sharpness."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from fx.data.transforms import functional
from fx.data.transforms.checks import check_channels, check_number, check_p, check_whole, need_key


@dataclasses.dataclass(frozen=True)
class RandomInvert:
    """Invert each image `[N, 1 or 3, H, W]` with probability `p`.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> RandomInvert(1.0)(jnp.full((1, 1, 1, 1), 0.25), jax.random.key(0)).item()
        0.75

    Source:
        `torchvision.transforms.RandomInvert`.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Change a batch at random."""
        return jnp.where(_chosen(self, images, key), functional.invert(images), images)


@dataclasses.dataclass(frozen=True)
class RandomPosterize:
    """Keep the highest bits of each value of each image with probability `p`.

    Args:
        bits: how many of eight are kept, 0 to 8; each value in [0, 1] stands for the nearest byte.
        p: of an image.

    Raises:
        TypeError: `p` is no number.
        ValueError: `bits` is no whole number from 0 to 8, or `p` is not in [0, 1].

    Example:
        >>> RandomPosterize(1, p=1.0)(jnp.full((1, 1, 1, 1), 0.4), jax.random.key(0)).item()
        0.0

    Source:
        `torchvision.transforms.RandomPosterize`.
    """

    bits: int
    p: float = 0.5

    def __post_init__(self) -> None:
        check_whole(self, "bits", 0, 8)
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Change a batch at random."""
        chosen = _chosen(self, images, key)
        return jnp.where(chosen, functional.posterize(images, self.bits), images)


@dataclasses.dataclass(frozen=True)
class RandomSolarize:
    """Invert the lighter values of each image with probability `p`.

    Args:
        threshold: what is inverted is as light as this, in [0, 1], or lighter.
        p: of an image.

    Raises:
        TypeError: `threshold` or `p` is no number.
        ValueError: `threshold` or `p` is not in [0, 1].

    Example:
        >>> RandomSolarize(0.5, p=1.0)(jnp.full((1, 1, 1, 1), 0.75), jax.random.key(0)).item()
        0.25

    Source:
        `torchvision.transforms.RandomSolarize`, on float tensors: that of bytes has a threshold of
        255 times as much.
    """

    threshold: float
    p: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "threshold")
        if not 0 <= self.threshold <= 1:
            raise ValueError(
                f"RandomSolarize: expected threshold in [0, 1], as images are, got "
                f"{self.threshold}; divide that of bytes by 255"
            )
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Change a batch at random."""
        chosen = _chosen(self, images, key)
        return jnp.where(chosen, functional.solarize(images, self.threshold), images)


@dataclasses.dataclass(frozen=True)
class RandomAdjustSharpness:
    """Sharpen or smooth each image with probability `p`.

    Args:
        sharpness_factor: 0 is smooth, 1 changes nothing, 2 is twice as sharp.
        p: of an image.

    Raises:
        TypeError: `sharpness_factor` or `p` is no number.
        ValueError: `sharpness_factor` is negative, or `p` is not in [0, 1].

    Example:
        >>> RandomAdjustSharpness(2)(jnp.zeros((8, 3, 32, 32)), jax.random.key(0)).shape
        (8, 3, 32, 32)

    Source:
        `torchvision.transforms.RandomAdjustSharpness`, on float tensors.
    """

    sharpness_factor: float
    p: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "sharpness_factor")
        if not self.sharpness_factor >= 0:
            raise ValueError(
                "RandomAdjustSharpness: expected sharpness_factor of 0 or more, got "
                f"{self.sharpness_factor}"
            )
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Change a batch at random."""
        chosen = _chosen(self, images, key)
        return jnp.where(chosen, functional.adjust_sharpness(images, self.sharpness_factor), images)


@dataclasses.dataclass(frozen=True)
class RandomAutocontrast:
    """Stretch each channel of each image from 0 to 1 with probability `p`.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> images = jnp.array([0.25, 0.5, 0.75]).reshape(1, 1, 1, 3)
        >>> RandomAutocontrast(1.0)(images, jax.random.key(0)).tolist()
        [[[[0.0, 0.5, 1.0]]]]

    Source:
        `torchvision.transforms.RandomAutocontrast`, on float tensors.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Change a batch at random."""
        return jnp.where(_chosen(self, images, key), functional.autocontrast(images), images)


@dataclasses.dataclass(frozen=True)
class RandomEqualize:
    """Spread the values of each channel of each image evenly with probability `p`.

    Each value in [0, 1] stands for the nearest byte.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> RandomEqualize()(jnp.zeros((8, 3, 32, 32)), jax.random.key(0)).shape
        (8, 3, 32, 32)

    Source:
        `torchvision.transforms.RandomEqualize`.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Change a batch at random."""
        return jnp.where(_chosen(self, images, key), functional.equalize(images), images)


def _chosen(transform, images, key):
    """Which images are changed: bool `[N, 1, 1, 1]`."""
    check_channels(type(transform).__name__, images)
    shape = (len(images), 1, 1, 1)
    return jax.random.bernoulli(need_key(key, transform), transform.p, shape)
