"""torchvision's transforms on whole batches: pure, compiled, with a key.

A transform is a hashable description, called `transform(images, key=None)` inside of a compiled
step; a random one draws anew for each image. `MixUp`, `CutMix` and `WithTargets` change the targets
too. `functional` has the pure functions underneath.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fx.data import images as functional
from fx.data.images import need_key
from fx.data.mixing import CutMix, MixUp, WithTargets, applied, takes_targets

__all__ = [
    "ColorJitter",
    "Compose",
    "CutMix",
    "MixUp",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotation",
    "ToTensor",
    "WithTargets",
    "functional",
]

Range = float | tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Compose:
    """Apply transforms one after the other.

    Each gets a key of its own, folded from the key and its position.

    Args:
        transforms: callables `(images, key=None) -> images`; for `pair`, also what changes targets
            with them, `MixUp` for one.

    Example:
        >>> transform = Compose((ToTensor(), Normalize(0.5, 0.5)))
        >>> transform(jnp.zeros((8, 32, 32, 3), jnp.uint8)).shape
        (8, 3, 32, 32)

    Source:
        `torchvision.transforms.Compose`. For evaluation, make one without random transforms:
        there is no mode to switch.
    """

    transforms: Sequence[Callable[..., jax.Array]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Apply the transforms to a batch."""
        for i, transform in enumerate(self.transforms):
            images = transform(images, _folded(key, i))
        return images

    @property
    def takes_targets(self) -> bool:
        """Whether one of them does."""
        return any(map(takes_targets, self.transforms))

    def pair(self, images: Any, targets: Any, key: jax.Array | None = None) -> tuple[Any, Any]:
        """Apply the transforms to a batch and its targets."""
        for i, transform in enumerate(self.transforms):
            images, targets = applied(transform, images, targets, _folded(key, i))
        return images, targets


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
class RandomHorizontalFlip:
    """Mirror each image left to right with probability `p`.

    Raises:
        ValueError: `p` is not in [0, 1].

    Source:
        `torchvision.transforms.RandomHorizontalFlip`.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"RandomHorizontalFlip: expected p in [0, 1], got {self.p}")

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Flip a batch at random."""
        functional.check_images("RandomHorizontalFlip", images)
        flip = jax.random.bernoulli(need_key(key, self), self.p, images.shape[:1])
        return functional.hflip(images, flip)


@dataclasses.dataclass(frozen=True)
class RandomRotation:
    """Rotate each image by an angle of its own.

    Args:
        degrees: the angles are uniform in (-degrees, degrees), or between the two given.
        interpolation: "nearest" or "bilinear".
        expand: False; with True each image would get a size of its own.
        center: x and y of the fixed point in pixels from the top left corner; None is the middle.
        fill: the value outside of the image, a number or one for each channel.

    Raises:
        ValueError: a single `degrees` is negative, or `expand` is True.

    Source:
        `torchvision.transforms.RandomRotation`. `interpolation` is a word, not an enumeration.
    """

    degrees: Range
    interpolation: str = "nearest"
    expand: bool = False
    center: tuple[float, float] | None = None
    fill: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        degrees = self.degrees
        if isinstance(degrees, int | float):
            if degrees < 0:
                raise ValueError(f"RandomRotation: expected degrees of 0 or more, got {degrees}")
            degrees = (-degrees, degrees)
        object.__setattr__(self, "degrees", tuple(map(float, degrees)))
        if self.expand:
            raise ValueError(
                "RandomRotation: expand=True would give each image of a batch its own size; "
                "pad the images first and use expand=False"
            )

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Rotate a batch at random."""
        functional.check_images("RandomRotation", images)
        low, high = self.degrees  # type: ignore[misc]
        angle = jax.random.uniform(need_key(key, self), images.shape[:1], jnp.float32, low, high)
        return functional.rotate(images, angle, self.interpolation, self.center, self.fill)


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """Cut a window at random out of each image, after padding.

    Args:
        size: height and width, or one number for both.
        padding: pixels on all sides, or (left and right, top and bottom), or
            (left, top, right, bottom); None pads nothing.
        pad_if_needed: pad images that are smaller than `size`, on both sides by what they lack.
        fill: the value of constant padding.
        padding_mode: "constant", "edge", "reflect" or "symmetric".

    Raises:
        ValueError: the padded images are smaller than `size`, or `padding_mode` is another word.

    Source:
        `torchvision.transforms.RandomCrop`.
    """

    size: int | tuple[int, int]
    padding: int | tuple[int, ...] | None = None
    pad_if_needed: bool = False
    fill: float = 0.0
    padding_mode: str = "constant"

    def __post_init__(self) -> None:
        if self.padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ValueError(
                'RandomCrop: expected padding_mode "constant", "edge", "reflect" or "symmetric", '
                f"got {self.padding_mode!r}"
            )
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        padding = (self.padding or 0,) if not isinstance(self.padding, Sequence) else self.padding
        if len(padding) not in (1, 2, 4):
            raise ValueError(
                f"RandomCrop: expected padding of 1, 2 or 4 numbers, got {len(padding)}"
            )
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "padding", tuple(padding) * (4 // len(padding)))

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Crop a batch at random."""
        functional.check_images("RandomCrop", images)
        height, width = self.size  # type: ignore[misc]
        left, top, right, bottom = self.padding  # type: ignore[misc]
        images = self._pad(images, (top, bottom), (left, right))
        if self.pad_if_needed:
            lack = [max(0, want - have) for want, have in zip((height, width), images.shape[2:])]
            images = self._pad(images, (lack[0], lack[0]), (lack[1], lack[1]))
        n, _, rows, columns = images.shape
        if rows < height or columns < width:
            raise ValueError(
                f"RandomCrop: expected images of at least {height}x{width} after padding, got "
                f"{rows}x{columns}; give padding=, or pad_if_needed=True"
            )
        spare = jnp.array([[rows - height + 1], [columns - width + 1]], jnp.int32)
        top_left = jax.random.randint(need_key(key, self), (2, n), 0, spare, jnp.int32)
        return functional.crop(images, top_left[0], top_left[1], (height, width))

    def _pad(self, images, rows, columns):
        widths = ((0, 0), (0, 0), rows, columns)
        if self.padding_mode == "constant":
            return jnp.pad(images, widths, constant_values=self.fill)
        return jnp.pad(images, widths, mode=self.padding_mode)


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
        functional.check_images("ColorJitter", images)
        for_factors, for_order = jax.random.split(need_key(key, self))
        ranges = jnp.array([self.brightness, self.contrast, self.saturation, self.hue], jnp.float32)
        shape = (len(images), 4)
        factors = jax.random.uniform(
            for_factors, shape, jnp.float32, minval=ranges[:, 0], maxval=ranges[:, 1]
        )
        orders = jnp.array(list(itertools.permutations(range(4))), jnp.int32)  # [24, 4]
        drawn = jax.random.randint(for_order, shape[:1], 0, len(orders), jnp.int32)
        return functional.jitter_color(images, factors, orders[drawn])


def _folded(key: jax.Array | None, position: int) -> jax.Array | None:
    return None if key is None else jax.random.fold_in(key, position)
