"""Layers that drop elements or channels in training.

`inplace` is accepted and has no effect. Masks come from the key given to `apply`; in evaluation,
and with p = 0, none is needed.
"""

import jax

from fx import functional as F
from fx.nn.module import Module


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False):
        if not 0 <= p <= 1:
            raise ValueError(
                f"{type(self).__name__}: expected p between 0 and 1, got {p}; p is what is dropped"
            )
        self.p, self.inplace = p, inplace

    def _key(self) -> jax.Array | None:
        return self.next_key() if self.training and 0 < self.p < 1 else None

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Sets elements to 0 with probability p in training, and divides the others by 1 - p.

    Args:
        p: the probability of being dropped.
        inplace: accepted, no effect.

    Raises:
        ValueError: p is outside [0, 1]; at a call in training, no key was given to `apply`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> drop = nn.Sequential(nn.Dropout(0.5))
        >>> drop.apply({}, {}, jnp.ones(4))[0].tolist()
        [1.0, 1.0, 1.0, 1.0]
        >>> y, _ = drop.apply({}, {}, jnp.ones(99), train=True, key=jax.random.key(0))
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]

    Source: torch.nn.Dropout.
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.dropout(input, self.p, self.training, key=self._key())


class Dropout1d(_Dropout):
    """Sets whole channels of [N, C, L] or [C, L] to 0; arguments and errors as `Dropout`."""

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, L] or [C, L] in, the same out."""
        return F.dropout1d(input, self.p, self.training, key=self._key())


class Dropout2d(_Dropout):
    """Sets whole channels of [N, C, H, W] to 0; arguments and errors as `Dropout`.

    Three axes are read as [N, C, L], as torch does.
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, H, W] or [N, C, L] in, the same out."""
        return F.dropout2d(input, self.p, self.training, key=self._key())


class Dropout3d(_Dropout):
    """Sets whole channels of [N, C, D, H, W] to 0; arguments and errors as `Dropout`."""

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, D, H, W] or [C, D, H, W] in, the same out."""
        return F.dropout3d(input, self.p, self.training, key=self._key())


class AlphaDropout(_Dropout):
    """Sets elements to SELU's lower limit, keeping mean 0 and variance 1; else as `Dropout`."""

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        return F.alpha_dropout(input, self.p, self.training, key=self._key())


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels of [N, C, ...]; arguments and errors as `Dropout`."""

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, ...] in, the same out."""
        return F.feature_alpha_dropout(input, self.p, self.training, key=self._key())
