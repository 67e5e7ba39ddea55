"""Transforms made of others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fx.data.transforms.checks import check_images, check_p, need_key
from fx.data.transforms.mixing import applied, takes_targets


@dataclasses.dataclass(frozen=True)
class Compose:
    """Apply transforms one after the other.

    Each gets a key of its own, folded from the key and its position.

    Args:
        transforms: callables `(images, key=None) -> images`; for `pair`, also what changes targets
            with them, `MixUp` for one.

    Example:
        >>> from fx.data.transforms import Normalize, ToTensor
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
class RandomApply:
    """Apply transforms one after the other to each image with probability `p`, or none of them.

    Args:
        transforms: callables `(images, key=None) -> images`; of the same size, since the images of
            a batch have one.
        p: of an image.

    Raises:
        TypeError: `p` is no number.
        ValueError: `p` is not in [0, 1]; when called, the transforms change the images' size.

    Source:
        `torchvision.transforms.RandomApply`, which decides once for what it is given: one image.
    """

    transforms: Sequence[Callable[..., jax.Array]]
    p: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))
        check_p(self)

    def __call__(self, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Apply the transforms to some images of a batch."""
        check_images("RandomApply", images)
        for_choice, for_transforms = jax.random.split(need_key(key, self))
        changed = Compose(self.transforms)(images, for_transforms)
        if changed.shape != images.shape:
            raise ValueError(
                f"RandomApply: expected transforms that keep {list(images.shape)}, got "
                f"{list(changed.shape)}; the images of a batch have one size"
            )
        chosen = jax.random.bernoulli(for_choice, self.p, (len(images), 1, 1, 1))
        return jnp.where(chosen, changed, images)


def _folded(key: jax.Array | None, position: int) -> jax.Array | None:
    return None if key is None else jax.random.fold_in(key, position)
