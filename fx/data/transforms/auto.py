"""Automatic augmentation: each image gets operations that are drawn for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fx.data.transforms.checks import (
    as_fill,
    check_channels,
    check_fill,
    check_interpolation,
    check_number,
    check_whole,
    need_key,
)
from fx.data.transforms.operations import OPERATIONS, Fill, augmented, mixed
from fx.data.transforms.policies import POLICIES, magnitudes, policy
from fx.data.transforms.tones import from_bytes, to_bytes

_SHARE = 150 / 331
"""Of an image's size, the widest shift: AutoAugment's 150 pixels of 331."""


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """Apply operations to each image that are drawn for it, all as strong.

    There are fourteen: none, shears, shifts, turns, brightness, colour, contrast, sharpness,
    posterize, solarize, autocontrast and equalize. What it is called with are float images
    `[N, 1 or 3, H, W]` in [0, 1], each value standing for the nearest of 256.

    Args:
        num_ops: how many operations, one after the other.
        magnitude: how strong they are, from 0 to `num_magnitude_bins - 1`.
        num_magnitude_bins: how many magnitudes there are.
        interpolation: "nearest" or "bilinear".
        fill: what is outside of the image, in [0, 1], a number or one for each channel; None is 0.

    Raises:
        TypeError: a value of `fill` is no number.
        ValueError: `magnitude` is not one of the magnitudes, `interpolation` is another word, or
            a value of `fill` is not in [0, 1].

    Example:
        >>> augment = RandAugment()
        >>> augment(jnp.zeros((8, 3, 32, 32)), jax.random.key(0)).shape
        (8, 3, 32, 32)

    Source:
        `torchvision.transforms.RandAugment`, on tensors of bytes: it comes after `ToTensor` here,
        and gives what it makes of them there. `interpolation` is a word, and `fill` that of floats.
        Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search
        space", 2020.
    """

    num_ops: int = 2
    magnitude: int = 9
    num_magnitude_bins: int = 31
    interpolation: str = "nearest"
    fill: Fill = None

    def __post_init__(self) -> None:
        check_whole(self, "num_ops", 0)
        check_whole(self, "num_magnitude_bins", 2)
        check_whole(self, "magnitude", 0, self.num_magnitude_bins - 1)
        _check_warp(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Augment a batch at random."""
        _check_images(self, images)
        for_kind, for_sign = jax.random.split(need_key(key, self))
        shift = _SHARE * images.shape[2], _SHARE * images.shape[3]
        table = jnp.asarray(magnitudes(self.num_magnitude_bins, shift)[:, self.magnitude])
        shape = len(images), self.num_ops
        kind = jax.random.randint(for_kind, shape, 0, _INVERT, jnp.int32)
        return _augmented(self, images, kind, _signed(for_sign, kind, table[kind]))


@dataclasses.dataclass(frozen=True)
class TrivialAugmentWide:
    """Apply one operation to each image, drawn for it and of a strength that is drawn.

    The operations are those of `RandAugment`, and so are the images; they go further.

    Args:
        num_magnitude_bins: how many magnitudes there are, of which one is drawn.
        interpolation: "nearest" or "bilinear".
        fill: what is outside of the image, in [0, 1], a number or one for each channel; None is 0.

    Raises:
        TypeError: a value of `fill` is no number.
        ValueError: there are fewer than two magnitudes, `interpolation` is another word, or a
            value of `fill` is not in [0, 1].

    Example:
        >>> augment = TrivialAugmentWide()
        >>> augment(jnp.zeros((8, 3, 32, 32)), jax.random.key(0)).shape
        (8, 3, 32, 32)

    Source:
        `torchvision.transforms.TrivialAugmentWide`, on tensors of bytes. A shift of 16 pixels,
        magnitude 15 of 31, is one of 15 where torch's `linspace` rounds to 15.999999. Müller and
        Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", 2021.
    """

    num_magnitude_bins: int = 31
    interpolation: str = "nearest"
    fill: Fill = None

    def __post_init__(self) -> None:
        check_whole(self, "num_magnitude_bins", 2)
        _check_warp(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Augment a batch at random."""
        _check_images(self, images)
        for_kind, for_bin, for_sign = jax.random.split(need_key(key, self), 3)
        table = magnitudes(self.num_magnitude_bins, (32, 32), 0.99, 135, 0.99, (8, 2))
        shape = len(images), 1
        kind = jax.random.randint(for_kind, shape, 0, _INVERT, jnp.int32)
        place = jax.random.randint(for_bin, shape, 0, self.num_magnitude_bins, jnp.int32)
        magnitude = _signed(for_sign, kind, jnp.asarray(table)[kind, place])
        return _augmented(self, images, kind, magnitude)


@dataclasses.dataclass(frozen=True)
class AutoAugment:
    """Apply two operations to each image, drawn from the pairs that were found best for a data set.

    The images are as for `RandAugment`. Each of the two is applied with a probability of its own.

    Args:
        policy: "imagenet", "cifar10" or "svhn".
        interpolation: "nearest" or "bilinear".
        fill: what is outside of the image, in [0, 1], a number or one for each channel; None is 0.

    Raises:
        TypeError: a value of `fill` is no number.
        ValueError: `policy` or `interpolation` is another word, or a value of `fill` is not
            in [0, 1].

    Example:
        >>> augment = AutoAugment("cifar10")
        >>> augment(jnp.zeros((8, 3, 32, 32)), jax.random.key(0)).shape
        (8, 3, 32, 32)

    Source:
        `torchvision.transforms.AutoAugment`, on tensors of bytes; `policy` is a word, not an
        enumeration. Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", 2019.
    """

    policy: str = "imagenet"
    interpolation: str = "nearest"
    fill: Fill = None

    def __post_init__(self) -> None:
        if not isinstance(self.policy, str) or self.policy not in POLICIES:
            raise ValueError(
                f'AutoAugment: expected policy "imagenet", "cifar10" or "svhn", got {self.policy!r}'
            )
        _check_warp(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Augment a batch at random."""
        _check_images(self, images)
        for_pair, for_choice, for_sign = jax.random.split(need_key(key, self), 3)
        kinds, shares, places = policy(self.policy)
        table = magnitudes(10, (_SHARE * images.shape[2], _SHARE * images.shape[3]))
        strong = table[kinds, places]  # [25, 2]
        n = len(images)
        pair = jax.random.randint(for_pair, (n,), 0, len(kinds), jnp.int32)
        chosen = jax.random.uniform(for_choice, (n, 2), jnp.float32) <= jnp.asarray(shares)[pair]
        kind = jnp.where(chosen, jnp.asarray(kinds)[pair], OPERATIONS.index("Identity"))
        magnitude = _signed(for_sign, kind, jnp.asarray(strong)[pair])
        return _augmented(self, images, kind, magnitude)


@dataclasses.dataclass(frozen=True)
class AugMix:
    """Blend each image with chains of operations on it, by shares that are drawn.

    The images are as for `RandAugment`.

    Args:
        severity: operations are of a magnitude below this, of ten; from 1 to 10.
        mixture_width: how many chains.
        chain_depth: how many operations in each; 0 or less draws from 1 to 3.
        alpha: of the Dirichlet distributions that the shares are drawn from, above 0: first that of
            the image and of all chains, then those of the chains.
        all_ops: with brightness, colour, contrast and sharpness, on which robustness is tested.
        interpolation: "nearest" or "bilinear".
        fill: what is outside of the image, in [0, 1], a number or one for each channel; None is 0.

    Raises:
        TypeError: `alpha` or a value of `fill` is no number.
        ValueError: a number is outside of its range, `interpolation` is another word, or a value of
            `fill` is not in [0, 1].

    Example:
        >>> augment = AugMix()
        >>> augment(jnp.zeros((8, 3, 32, 32)), jax.random.key(0)).shape
        (8, 3, 32, 32)

    Source:
        `torchvision.transforms.AugMix`, on tensors of bytes; the blend is cut off to bytes too.
        Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and
        Uncertainty", 2020.
    """

    severity: int = 3
    mixture_width: int = 3
    chain_depth: int = -1
    alpha: float = 1.0
    all_ops: bool = True
    interpolation: str = "bilinear"
    fill: Fill = None

    def __post_init__(self) -> None:
        check_whole(self, "severity", 1, 10)
        check_whole(self, "mixture_width", 1)
        check_whole(self, "chain_depth")
        check_number(self, "alpha")
        if not self.alpha > 0:
            raise ValueError(f"AugMix: expected alpha above 0, got {self.alpha}")
        _check_warp(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Augment a batch at random."""
        _check_images(self, images)
        for_shares, for_chains = jax.random.split(need_key(key, self))
        shares = self._shares(for_shares, len(images))
        chains = self._chains(for_chains, images.shape)
        how = self.interpolation, self.fill
        changed = mixed(to_bytes(images), *shares, *chains, *how)
        return from_bytes(changed, images.dtype)

    def _shares(self, key, n):
        """Of the image itself `[N]`, and of the chains `[N, mixture_width]`."""
        # Dirichlet's draws are gammas over their sum; all in one call, which is slow to compile.
        drawn = jax.random.loggamma(key, self.alpha, (n, 2 + self.mixture_width), jnp.float32)
        kept, rest = jax.nn.softmax(drawn[:, :2]).T
        return kept, jax.nn.softmax(drawn[:, 2:]) * rest[:, None]

    def _chains(self, key, shape):
        """Kinds and magnitudes of the operations `[N, mixture_width, depth]`."""
        for_kind, for_bin, for_sign, for_depth = jax.random.split(key, 4)
        drawn = self.chain_depth <= 0
        size = shape[0], self.mixture_width, 3 if drawn else self.chain_depth
        left_out = {"Identity", "Invert"}
        if not self.all_ops:
            left_out |= {"Brightness", "Color", "Contrast", "Sharpness"}
        kinds = [place for place, name in enumerate(OPERATIONS) if name not in left_out]
        table = magnitudes(10, (shape[2] / 3, shape[3] / 3), bits=(4, 0))
        kind = jax.random.choice(for_kind, jnp.array(kinds, jnp.int32), size)
        place = jax.random.randint(for_bin, size, 0, self.severity, jnp.int32)
        if drawn:
            depth = jax.random.randint(for_depth, (*size[:2], 1), 1, 4, jnp.int32)
            goes_on = jnp.arange(3, dtype=jnp.int32) < depth
            kind = jnp.where(goes_on, kind, OPERATIONS.index("Identity"))
        return kind, _signed(for_sign, kind, jnp.asarray(table)[kind, place])


_INVERT = OPERATIONS.index("Invert")
"""The last, and AutoAugment's alone: the others draw from those before it."""


def _check_warp(transform: Any) -> None:
    check_interpolation(transform)
    object.__setattr__(transform, "fill", as_fill(transform))


def _check_images(transform, images):
    name = type(transform).__name__
    check_channels(name, images)
    check_fill(name, transform.fill, images)


def _signed(key, kind, magnitude):
    """Turn around half of the magnitudes: of shears, shifts, turns and factors, the first nine."""
    turned = jax.random.bernoulli(key, 0.5, kind.shape)
    signed = (kind >= OPERATIONS.index("ShearX")) & (kind <= OPERATIONS.index("Sharpness"))
    return jnp.where(turned & signed, -magnitude, magnitude)


def _augmented(transform, images, kind, magnitude):
    """Float images after operations `[N, count]`."""
    how = transform.interpolation, transform.fill
    return from_bytes(augmented(to_bytes(images), kind, magnitude, *how), images.dtype)
