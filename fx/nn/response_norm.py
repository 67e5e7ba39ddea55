"""Normalisation by neighbouring channels, as layers."""

import jax
import jax.numpy as jnp

from fx import functional as F
from fx.functional.dtypes import accumulate
from fx.functional.response_norm import channel_window_sum
from fx.nn.checks import positive, shape_error
from fx.nn.module import Module


class LocalResponseNorm(Module):
    """Divides by (k + alpha * mean of squares over `size` neighbouring channels) ** beta.

    Args:
        size: number of channels of a window.
        alpha: factor of the mean.
        beta: exponent.
        k: what is added.

    Raises:
        TypeError: at a call, if the input is not floating.
        ValueError: at a call, if the input has fewer than 3 axes, or size is below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.LocalResponseNorm(2, alpha=2.0, beta=1.0)(jnp.ones((1, 1, 1))).tolist()
        [[[0.5]]]

    Source: torch.nn.LocalResponseNorm.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, ...] in, the same out."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(Module):
    """Lua Torch's `LocalResponseNorm` for [N, C, H, W]: its windows stand evenly around a channel.

    An even size sums one channel less than it divides by. The first channel stays in the sums of
    all channels behind its window, as it does in torch, whose numbers these are.

    Args:
        size: number of channels of a window.
        alpha: factor of the mean.
        beta: exponent.
        k: what is added.

    Raises:
        TypeError: size is not an integer; at a call, if the input is not floating.
        ValueError: size is less than 1; at a call, if the input has not 4 axes.

    Source: torch.nn.CrossMapLRN2d; but the gradient here is the derivative of the output, while
    torch's takes its sums over other channels.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1):
        positive(self, size=size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, H, W] in, the same out."""
        x = accumulate(input, type(self).__name__)
        if x.ndim != 4:
            raise shape_error(self, "[N, C, H, W]", x, "reshape it to 4 axes")
        reach = (self.size - 1) // 2
        squares = jnp.square(x)
        behind = (jnp.arange(x.shape[1]) > reach)[:, None, None]  # [C, 1, 1]
        first = jnp.where(behind, squares[:, :1], 0)
        total = channel_window_sum(squares, reach, reach) + first
        scale = self.alpha / self.size * total + self.k
        return (x * scale**-self.beta).astype(jnp.asarray(input).dtype)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
