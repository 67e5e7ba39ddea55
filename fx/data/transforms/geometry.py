"""Random transforms of where pixels are: flips, crops and affine maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp

from fx.data.transforms import functional
from fx.data.transforms.checks import (
    POSITIVE,
    as_range,
    as_size,
    check_images,
    check_interpolation,
    check_number,
    check_p,
    keep_fill,
    need_key,
)

Range = float | tuple[float, float]


@dataclasses.dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirror each image left to right with probability `p`.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1].

    Source:
        `torchvision.transforms.RandomHorizontalFlip`.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Flip a batch at random."""
        check_images("RandomHorizontalFlip", images)
        flip = jax.random.bernoulli(need_key(key, self), self.p, images.shape[:1])
        return functional.hflip(images, flip)


@dataclasses.dataclass(frozen=True)
class RandomVerticalFlip:
    """Mirror each image top to bottom with probability `p`.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1].

    Source:
        `torchvision.transforms.RandomVerticalFlip`.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Flip a batch at random."""
        check_images("RandomVerticalFlip", images)
        flip = jax.random.bernoulli(need_key(key, self), self.p, images.shape[:1])
        return functional.vflip(images, flip)


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
        keep_fill(self)
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
        check_images("RandomRotation", images)
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
        padding = (self.padding or 0,) if not isinstance(self.padding, Sequence) else self.padding
        if len(padding) not in (1, 2, 4):
            raise ValueError(
                f"RandomCrop: expected padding of 1, 2 or 4 numbers, got {len(padding)}"
            )
        object.__setattr__(self, "size", as_size("RandomCrop", self.size))
        object.__setattr__(self, "padding", tuple(padding) * (4 // len(padding)))

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Crop a batch at random."""
        check_images("RandomCrop", images)
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
class RandomAffine:
    """Rotate, shift, scale and shear each image at random, keeping its size.

    Args:
        degrees: the angles are uniform in (-degrees, degrees), or between the two given.
        translate: shares of width and height, within which the shifts are uniform, in whole pixels;
            None does not shift.
        scale: the factors are uniform between these two; None does not scale.
        shear: degrees along x, in (-shear, shear) or between the two given; four numbers are those
            along x and along y; None does not shear.
        interpolation: "nearest" or "bilinear".
        fill: the value outside of the image, a number or one for each channel.
        center: x and y of the fixed point in pixels from the top left corner; None is the middle.

    Raises:
        ValueError: a range is empty, a share is not in [0, 1], or a scale is not positive.

    Source:
        `torchvision.transforms.RandomAffine`. `interpolation` is a word, not an enumeration.
    """

    degrees: Range
    translate: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    shear: float | tuple[float, ...] | None = None
    interpolation: str = "nearest"
    fill: float | tuple[float, ...] = 0.0
    center: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        keep_fill(self)
        still = (0.0, 0.0)
        scale = (1.0, 1.0) if self.scale is None else self.scale
        shear = still if self.shear is None else _around(self.shear)
        shares = still if self.translate is None else self.translate
        ranges = {
            "degrees": as_range("RandomAffine", "degrees", _around(self.degrees)),
            "scale": as_range("RandomAffine", "scale", scale, POSITIVE),
            "shear": (
                *as_range("RandomAffine", "shear", shear[:2]),
                *as_range("RandomAffine", "shear along y", shear[2:] or still),
            ),
            "translate": tuple(shares) if isinstance(shares, Iterable) else (),
        }
        if len(ranges["translate"]) != 2 or not all(0 <= share <= 1 for share in shares):
            raise ValueError(
                f"RandomAffine: expected translate of two shares in [0, 1], got {self.translate}"
            )
        for name, value in ranges.items():
            object.__setattr__(self, name, value)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Transform a batch at random."""
        check_images("RandomAffine", images)
        height, width = images.shape[2:]
        along, down = self.translate[0] * width, self.translate[1] * height  # type: ignore[index]
        ranges = [self.degrees, (-along, along), (-down, down), self.scale]
        ranges += [self.shear[:2], self.shear[2:]]  # type: ignore[index]
        low, high = jnp.array(ranges, jnp.float32).T[:, :, None]
        drawn = jax.random.uniform(need_key(key, self), (6, len(images)), jnp.float32, low, high)
        angle, x, y, scale, *shear = drawn
        shift = jnp.round(x), jnp.round(y)
        how = self.interpolation, self.fill, self.center
        return functional.affine(images, angle, shift, scale, tuple(shear), *how)


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """Cut a window of random size and shape out of each image, and resize it.

    Args:
        size: height and width, or one number for both.
        scale: the window's share of the image's area is uniform between these two.
        ratio: its width over its height; the logarithm is uniform between those of these two.
        interpolation: "nearest", "bilinear", or, with antialias, "bicubic".
        antialias: widen the filter where the result is smaller than the window.

    Raises:
        ValueError: a range is empty or not positive, or `interpolation` is another word.

    Source:
        `torchvision.transforms.RandomResizedCrop`. As there, a window that does not fit is drawn
        anew, ten times at the most, and then is the largest in the middle whose ratio is allowed.
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size("RandomResizedCrop", self.size))
        for name, least in (("scale", 0), ("ratio", POSITIVE)):
            value = as_range("RandomResizedCrop", name, getattr(self, name), least)
            object.__setattr__(self, name, value)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Crop a batch at random."""
        check_images("RandomResizedCrop", images)
        n, _, rows, columns = images.shape
        window = random_window(need_key(key, self), n, (rows, columns), self.scale, self.ratio)
        low, high = self.ratio
        share = min(max(columns / rows, low), high)
        width, height = min(columns, round(rows * share)), min(rows, round(columns / share))
        whole = jnp.array([(rows - height) // 2, (columns - width) // 2, height, width], jnp.int32)
        top, left, height, width = jnp.where(window[2] > 0, window, whole[:, None])
        how = self.size, self.interpolation, self.antialias
        return functional.resized_crop(images, top, left, height, width, *how)  # type: ignore


@dataclasses.dataclass(frozen=True)
class RandomPerspective:
    """See each image as if its plane were tilted, with probability `p`, keeping its size.

    Images of one row or one column have no corners to move, and stay.

    Args:
        distortion_scale: each corner moves inward by up to this share of half the width and half
            the height, in whole pixels.
        p: of an image.
        interpolation: "nearest" or "bilinear".
        fill: the value outside of the image, a number or one for each channel.

    Raises:
        TypeError: `distortion_scale` or `p` is no number.
        ValueError: `distortion_scale` or `p` is not in [0, 1], or `interpolation` is another word.

    Example:
        >>> RandomPerspective()(jnp.zeros((8, 3, 32, 32)), jax.random.key(0)).shape
        (8, 3, 32, 32)

    Source:
        `torchvision.transforms.RandomPerspective`. `interpolation` is a word, not an enumeration.
    """

    distortion_scale: float = 0.5
    p: float = 0.5
    interpolation: str = "bilinear"
    fill: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        check_number(self, "distortion_scale")
        if not 0 <= self.distortion_scale <= 1:
            raise ValueError(
                "RandomPerspective: expected distortion_scale in [0, 1], got "
                f"{self.distortion_scale}"
            )
        check_p(self)
        keep_fill(self)
        check_interpolation(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Transform a batch at random."""
        check_images("RandomPerspective", images)
        for_choice, for_corners = jax.random.split(need_key(key, self))
        n, _, height, width = images.shape
        if min(height, width) == 1:
            return images
        right, down = width - 1, height - 1
        corners = jnp.array([[0, 0], [right, 0], [right, down], [0, down]], jnp.int32)
        inward = jnp.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], jnp.int32)
        most = jnp.array(
            [int(self.distortion_scale * (side // 2)) for side in (width, height)], jnp.int32
        )
        by = jax.random.randint(for_corners, (n, 4, 2), 0, most + 1, jnp.int32)
        how = self.interpolation, self.fill
        seen = functional.perspective(images, corners, corners + inward * by, *how)
        chosen = jax.random.bernoulli(for_choice, self.p, (n, 1, 1, 1))
        return jnp.where(chosen, seen, images)


def _around(given):
    """A range of the number on both sides of 0; one that is given as such stays."""
    return (-given, given) if isinstance(given, int | float) else tuple(given)


def random_window(
    key: jax.Array,
    count: int,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    smaller: bool = False,
) -> jax.Array:
    """A window for each of `count` images: int32 `[4, count]`, top, left, height and width.

    Height and width are 0 where none of ten that were drawn fits into the image, or, if it has to
    be `smaller`, is less than it.
    """
    for_area, for_ratio, for_place = jax.random.split(key, 3)
    rows, columns = size
    draws = (10, count)
    area = rows * columns * jax.random.uniform(for_area, draws, jnp.float32, *scale)
    low, high = jnp.log(jnp.array(ratio, jnp.float32))
    shape = jnp.exp(jax.random.uniform(for_ratio, draws, jnp.float32, low, high))
    width = jnp.round(jnp.sqrt(area * shape)).astype(jnp.int32)
    height = jnp.round(jnp.sqrt(area / shape)).astype(jnp.int32)
    if smaller:
        fits = (width < columns) & (height < rows)
    else:
        fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
    first = jnp.argmax(fits, axis=0)[None]
    fits, height, width = (
        jnp.take_along_axis(drawn, first, axis=0)[0] for drawn in (fits, height, width)
    )
    height, width = jnp.where(fits, height, 0), jnp.where(fits, width, 0)
    spare = jnp.stack([rows - height + 1, columns - width + 1])
    top, left = jax.random.randint(for_place, (2, count), 0, spare, jnp.int32)
    return jnp.stack([top, left, height, width])
