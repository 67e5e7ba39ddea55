"""Distances and similarities as layers."""

import jax

from fx import functional as F
from fx.nn.module import Module


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along an axis.

    Args:
        dim: the axis of the vectors.
        eps: what a vector's length is at least taken for.

    Raises:
        TypeError: at a call, neither input is floating.
        ValueError: at a call, the shapes do not broadcast, or have no axis `dim`.

    Source: torch.nn.CosineSimilarity.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        self.dim, self.eps = dim, eps

    def forward(self, x1: jax.Array, x2: jax.Array) -> jax.Array:
        """Two arrays that broadcast in, their shape without `dim` out."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last axis.

    Args:
        p: of the norm; may be infinite or negative.
        eps: added to each difference.
        keepdim: whether the last axis stays, with size 1.

    Raises:
        TypeError: at a call, an input is of booleans.
        ValueError: at a call, the shapes do not broadcast, or no vector has an element and p is
            infinite or negative.

    Source: torch.nn.PairwiseDistance.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: jax.Array, x2: jax.Array) -> jax.Array:
        """[..., D] and [..., D] in, [...] out."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
