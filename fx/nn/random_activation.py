"""Activation functions as layers that draw random numbers in training."""

import jax

from fx import functional as F
from fx.nn.activation import _Activation


class RReLU(_Activation):
    """Leaky ReLU with a random slope for each element in training, their mean otherwise.

    Args:
        lower: the least slope.
        upper: the largest slope.
        inplace: accepted, no effect.

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, lower is greater than upper, or no key was given to `apply` in
            training.

    Source: torch.nn.RReLU.
    """

    _shown = ("lower", "upper")

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False):
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Any shape in, the same out."""
        key = self.next_key() if self.training and self.lower < self.upper else None
        return F.rrelu(input, self.lower, self.upper, self.training, key=key)
