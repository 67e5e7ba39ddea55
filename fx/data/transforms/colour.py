"""Random transforms of the values of pixels: colours, blur, and parts that are erased."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import jax.numpy as jnp

from fx.data.transforms import functional
from fx.data.transforms.checks import POSITIVE, as_range, as_size, check_images, check_p, need_key
from fx.data.transforms.geometry import Range, random_window


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue of each image at random.

    Args:
        brightness: the factor is uniform in [max(0, 1 - brightness), 1 + brightness], or between
            the two given.
        contrast: likewise.
        saturation: likewise.
        hue: the shift is uniform in [-hue, hue], at most 0.5, or between the two given.

    Raises:
        ValueError: a number is negative, a range is empty, or a hue is beyond 0.5.

    Source:
        `torchvision.transforms.ColorJitter`. As there, applied to one image after the other, each
        image has its own factors and its own order of the four adjustments.
    """

    brightness: Range = 0.0
    contrast: Range = 0.0
    saturation: Range = 0.0
    hue: Range = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            middle, low, high = (0, -0.5, 0.5) if name == "hue" else (1, 0, float("inf"))
            if isinstance(value, int | float):
                value = (middle - value, middle + value) if value >= 0 else (1, 0)
                value = (max(low, value[0]), value[1]) if name != "hue" else value
            first, last = map(float, value)
            if not low <= first <= last <= high:
                raise ValueError(
                    f"ColorJitter: expected {name} to be a number of 0 or more, or a range, within "
                    f"[{low}, {high}], got {getattr(self, name)}"
                )
            object.__setattr__(self, name, (first, last))

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Jitter a batch at random."""
        check_images("ColorJitter", images)
        for_factors, for_order = jax.random.split(need_key(key, self))
        ranges = jnp.array([self.brightness, self.contrast, self.saturation, self.hue], jnp.float32)
        shape = (len(images), 4)
        factors = jax.random.uniform(
            for_factors, shape, jnp.float32, minval=ranges[:, 0], maxval=ranges[:, 1]
        )
        orders = jnp.array(list(itertools.permutations(range(4))), jnp.int32)  # [24, 4]
        drawn = jax.random.randint(for_order, shape[:1], 0, len(orders), jnp.int32)
        return functional.jitter_color(images, factors, orders[drawn])


@dataclasses.dataclass(frozen=True)
class RandomGrayscale:
    """Take the colours of each image away with probability `p`; it keeps its channels.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1].

    Source:
        `torchvision.transforms.RandomGrayscale`.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Change a batch at random."""
        check_images("RandomGrayscale", images)
        chosen = jax.random.bernoulli(need_key(key, self), self.p, (len(images), 1, 1, 1))
        return jnp.where(chosen, functional.rgb_to_grayscale(images), images)


@dataclasses.dataclass(frozen=True)
class GaussianBlur:
    """Blur each image by a Gaussian whose width is drawn.

    Args:
        kernel_size: its width and height in pixels, odd, or one number for both.
        sigma: the standard deviation in pixels is uniform between these two, or is this number.

    Raises:
        ValueError: an even kernel, a sigma that is not positive.

    Source:
        `torchvision.transforms.GaussianBlur`.
    """

    kernel_size: int | tuple[int, int]
    sigma: Range = (0.1, 2.0)

    def __post_init__(self) -> None:
        size = as_size("GaussianBlur", self.kernel_size, "kernel_size (width, height)")
        if not size[0] % 2 or not size[1] % 2:
            raise ValueError(
                f"GaussianBlur: expected a kernel_size of odd numbers, got {self.kernel_size}"
            )
        one = isinstance(self.sigma, int | float)
        sigma = (self.sigma, self.sigma) if one else self.sigma
        object.__setattr__(self, "kernel_size", size)
        object.__setattr__(self, "sigma", as_range("GaussianBlur", "sigma", sigma, POSITIVE))

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Blur a batch at random."""
        check_images("GaussianBlur", images)
        low, high = self.sigma  # type: ignore[misc]
        sigma = jax.random.uniform(need_key(key, self), images.shape[:1], jnp.float32, low, high)
        return functional.gaussian_blur(images, self.kernel_size, sigma)


@dataclasses.dataclass(frozen=True)
class RandomErasing:
    """Erase a window of random size and shape from each image with probability `p`.

    Args:
        p: of an image.
        scale: the window's share of the image's area is uniform between these two.
        ratio: its height over its width; the logarithm is uniform between those of these two.
        value: what is put there: a number, one for each channel, or "random" for normal noise.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1], a range is empty or not positive, or `value` is another
            word.

    Source:
        `torchvision.transforms.RandomErasing`. As there, a window that does not fit is drawn anew,
        ten times at the most.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float | tuple[float, ...] | str = 0.0

    def __post_init__(self) -> None:
        check_p(self)
        for name, least in (("scale", 0), ("ratio", POSITIVE)):
            value = as_range("RandomErasing", name, getattr(self, name), least)
            object.__setattr__(self, name, value)
        if isinstance(self.value, str) and self.value != "random":
            raise ValueError(
                'RandomErasing: expected value to be a number, one for each channel, or "random", '
                f"got {self.value!r}"
            )
        if not isinstance(self.value, str | int | float):
            object.__setattr__(self, "value", tuple(map(float, self.value)))

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Erase parts of a batch at random."""
        check_images("RandomErasing", images)
        for_choice, for_window, for_value = jax.random.split(need_key(key, self), 3)
        n, channels, rows, columns = images.shape
        ratio = (1 / self.ratio[1], 1 / self.ratio[0])  # of width over height
        size = (rows, columns)
        window = random_window(for_window, n, size, self.scale, ratio, smaller=True)
        chosen = jax.random.bernoulli(for_choice, self.p, (n,))
        top, left, height, width = window
        height = jnp.where(chosen, height, 0)
        if isinstance(self.value, str):
            value = jax.random.normal(for_value, images.shape, images.dtype)
        else:
            value = jnp.asarray(self.value, images.dtype).reshape(-1, 1, 1)
            if len(value) not in (1, channels):
                raise ValueError(
                    f"RandomErasing: expected a value for all or for each of {channels} channels, "
                    f"got {len(value)}"
                )
        return functional.erase(images, top, left, height, width, value)
