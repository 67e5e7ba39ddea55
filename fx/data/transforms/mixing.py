"""Transforms of inputs and targets together: MixUp, CutMix, and functions of one's own.

In place of being called they have `pair(inputs, targets, key) -> (inputs, targets)`, and
`takes_targets`, for which the step, an evaluation and `Compose` look.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fx.data.transforms import functional
from fx.data.transforms.checks import check_number


def applied(
    transform: Callable[..., Any], inputs: Any, targets: Any, key: jax.Array | None
) -> tuple[Any, Any]:
    """Apply a transform of inputs, or one of inputs and targets."""
    if takes_targets(transform):
        return transform.pair(inputs, targets, key)  # type: ignore[attr-defined]
    return transform(inputs, key), targets


def takes_targets(transform: Any) -> bool:
    """Whether a transform is one of inputs and targets."""
    return getattr(transform, "takes_targets", False)


class _Pair:
    """What is not to be called with inputs alone."""

    takes_targets = True

    def __call__(self, inputs: Any, key: jax.Array | None = None) -> Any:
        """Refuse inputs without their targets."""
        del inputs, key
        name = type(self).__name__
        raise TypeError(
            f"{name}: expected inputs and targets; call pair(inputs, targets, key), which the step "
            "does with transform="
        )


@dataclasses.dataclass(frozen=True)
class WithTargets(_Pair):
    """A transform of inputs and targets together.

    What moves an image moves the mask that is its target; masked language modelling makes both of
    the tokens.

    Args:
        function: `(inputs, targets, key) -> (inputs, targets)`, of a batch. The key is None in
            evaluation and prediction without one, and the targets where there are none.

    Example:
        >>> def noisy(x, targets, key):  # the targets are what it was before
        ...     return x + jax.random.normal(key, x.shape), x
        >>> inputs, targets = WithTargets(noisy).pair(jnp.ones((2, 3)), None, jax.random.key(0))
        >>> print(targets[0])
        [1. 1. 1.]
    """

    function: Callable[[Any, Any, Any], tuple[Any, Any]]

    def pair(self, inputs: Any, targets: Any, key: jax.Array | None = None) -> tuple[Any, Any]:
        """Call the function.

        Raises:
            TypeError: It does not return two.
        """
        found = self.function(inputs, targets, key)
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(
                "WithTargets: expected the function to return (inputs, targets), got "
                f"{type(found).__name__}; return both, the one that stays as it came"
            )
        return found


@dataclasses.dataclass(frozen=True)
class _Mixing(_Pair, abc.ABC):
    """What mixes each example with the one before it in the batch.

    Args:
        alpha: of the Beta(alpha, alpha) that the share is drawn from, above 0.
        num_classes: K, for targets that are classes; None where they are probabilities.
    """

    alpha: float = 1.0
    num_classes: int | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_number(self, "alpha")
        if not self.alpha > 0:
            raise ValueError(f"{name}: expected alpha above 0, got {self.alpha}")
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"{name}: expected num_classes of 1 or more, got {self.num_classes}")

    def pair(
        self, images: jax.Array, targets: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Mix a batch at random: one share for all of it.

        Args:
            images: float [N, C, H, W].
            targets: classes, integer [N], or probabilities, float [N, K].
            key: PRNG key.

        Returns:
            Images [N, C, H, W], and probabilities [N, K].

        Raises:
            TypeError: images that are not float; targets of classes without num_classes.
            ValueError: no key; targets or images of another shape.
        """
        functional.check_images(type(self).__name__, images)
        targets = self._probabilities(targets, len(images))
        share_key, place_key = jax.random.split(functional.need_key(key, self))
        share = jax.random.beta(share_key, self.alpha, self.alpha, dtype=jnp.float32)
        images, share = self._mix(images, share, place_key)
        return images, _blend(targets, share)

    @abc.abstractmethod
    def _mix(
        self, images: jax.Array, share: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The images, and the share of each in what is made of it."""

    def _probabilities(self, targets: jax.Array, count: int) -> jax.Array:
        name, targets = type(self).__name__, jnp.asarray(targets)
        classes = jnp.issubdtype(targets.dtype, jnp.integer)
        if classes and self.num_classes is None:
            raise TypeError(
                f"{name}: expected probabilities [N, K], got classes, {targets.dtype}; say how "
                f"many there are, {name}(num_classes=10)"
            )
        if targets.ndim != (1 if classes else 2) or len(targets) != count:
            raise ValueError(
                f"{name}: expected classes [{count}] or probabilities [{count}, K], one for each "
                f"image, got {targets.dtype} {list(targets.shape)}"
            )
        if classes:
            return jax.nn.one_hot(targets, self.num_classes)  # type: ignore[arg-type]
        return targets


@dataclasses.dataclass(frozen=True)
class MixUp(_Mixing):
    """Blend each image, and its target, with the one before it in the batch.

    For training alone: the loss is then of probabilities, as `cross_entropy` takes them, and a
    metric that wants classes gets `targets.argmax(-1)`, the likelier ones.

    Args:
        alpha: the share of an image in its blend is drawn from Beta(alpha, alpha), once for a
            batch; above 0.
        num_classes: how many classes there are, for targets that are classes; None where they are
            probabilities.

    Raises:
        TypeError: `alpha` is no number.
        ValueError: `alpha` or `num_classes` is not positive.

    Example:
        >>> images, targets = jnp.zeros((4, 3, 8, 8)), jnp.array([0, 1, 1, 2])
        >>> images, targets = MixUp(num_classes=3).pair(images, targets, jax.random.key(0))
        >>> images.shape, targets.shape, [round(float(row.sum()), 4) for row in targets]
        ((4, 3, 8, 8), (4, 3), [1.0, 1.0, 1.0, 1.0])

    Source:
        `torchvision.transforms.v2.MixUp`; Zhang et al., "mixup: Beyond Empirical Risk
        Minimization", 2018.
    """

    def _mix(
        self, images: jax.Array, share: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        del key
        return _blend(images, share), share


@dataclasses.dataclass(frozen=True)
class CutMix(_Mixing):
    """Paste a window of the image before it in the batch into each, and mix targets by its area.

    Args:
        alpha: the share of an image that stays, before the window is cut at the image's edges, is
            drawn from Beta(alpha, alpha), once for a batch; above 0.
        num_classes: as for `MixUp`.

    Raises:
        TypeError: `alpha` is no number.
        ValueError: `alpha` or `num_classes` is not positive.

    Example:
        >>> images, targets = jnp.zeros((4, 3, 8, 8)), jnp.array([0, 1, 1, 2])
        >>> images, targets = CutMix(num_classes=3).pair(images, targets, jax.random.key(0))
        >>> images.shape, targets.shape
        ((4, 3, 8, 8), (4, 3))

    Source:
        `torchvision.transforms.v2.CutMix`; Yun et al., "CutMix: Regularization Strategy to Train
        Strong Classifiers with Localizable Features", 2019.
    """

    def _mix(
        self, images: jax.Array, share: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        sizes = jnp.array(images.shape[2:], jnp.int32)  # [2]: height, width
        middle = jax.random.randint(key, (2,), 0, sizes, jnp.int32)
        half = (0.5 * jnp.sqrt(1 - share) * sizes.astype(jnp.float32)).astype(jnp.int32)
        first, last = jnp.maximum(middle - half, 0), jnp.minimum(middle + half, sizes)
        places = [jnp.arange(size, dtype=jnp.int32) for size in images.shape[2:]]
        rows, columns = ((at >= first[i]) & (at < last[i]) for i, at in enumerate(places))
        window = rows[:, None] & columns  # [H, W]
        images = jnp.where(window, jnp.roll(images, 1, 0), images)
        return images, 1 - jnp.mean(window, dtype=jnp.float32)


def _blend(values: jax.Array, share: jax.Array) -> jax.Array:
    share = share.astype(values.dtype)
    return share * values + (1 - share) * jnp.roll(values, 1, 0)
