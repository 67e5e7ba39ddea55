"""Losses of margins and of distances as layers.

They have no parameters, so they can be called by themselves. torch's deprecated `size_average` and
`reduce` are understood, and keep their places.
"""

from typing import Any

import jax

from fx import functional as F
from fx.functional.embedding_loss import Distance
from fx.functional.loss import reduction_of
from fx.nn.distance import PairwiseDistance
from fx.nn.loss import _given, _Loss
from fx.nn.module import Module


class HingeEmbeddingLoss(Module):
    """The input where the target is 1, max(0, margin - input) where it is -1.

    Args:
        margin: how far apart what is labelled -1 should be.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, shapes do not broadcast or the reduction is unknown.

    Source: torch.nn.HingeEmbeddingLoss.
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        self.reduction, self.margin = reduction_of(size_average, reduce, reduction), margin

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Distances and labels, 1 or -1, in; a scalar, or their shape, out."""
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(Module):
    """max(0, margin - target * (input1 - input2)); arguments as `HingeEmbeddingLoss`.

    Raises:
        TypeError: at a call, an input is not floating.
        ValueError: at a call, shapes do not fit or the reduction is unknown.

    Source: torch.nn.MarginRankingLoss.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        self.reduction, self.margin = reduction_of(size_average, reduce, reduction), margin

    def forward(self, input1: jax.Array, input2: jax.Array, target: jax.Array) -> jax.Array:
        """Two arrays and 1 or -1 in; a scalar, or their shape, out."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Module):
    """1 - cos(input1, input2) where the target is 1, max(0, cos - margin) where it is -1.

    Arguments as `HingeEmbeddingLoss`.

    Raises:
        ValueError: at a call, shapes do not fit or the reduction is unknown.

    Source: torch.nn.CosineEmbeddingLoss.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        self.reduction, self.margin = reduction_of(size_average, reduce, reduction), margin

    def forward(self, input1: jax.Array, input2: jax.Array, target: jax.Array) -> jax.Array:
        """Two of [N, D] or [D], and [N] or [] in; a scalar, or the target's shape, out."""
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target * input)), the target being 1 or -1.

    Args:
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, shapes do not broadcast or the reduction is unknown.

    Source: torch.nn.SoftMarginLoss, which overflows for large inputs.
    """

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Scores and labels in; a scalar, or their shape, out."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """Hinge between the classes that hold and those that do not; arguments as `SoftMarginLoss`.

    Raises:
        TypeError: at a call, the input is not floating, or the target not integer.
        ValueError: at a call, shapes differ or the reduction is unknown.

    Source: torch.nn.MultiLabelMarginLoss.
    """

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Scores [N, C] and classes [N, C], ended by -1, in; a scalar, or [N], out."""
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(Module):
    """Cross entropy of sigmoid(input), averaged over the classes.

    Args:
        weight: of each class, or None.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, shapes do not broadcast or the reduction is unknown.

    Source: torch.nn.MultiLabelSoftMarginLoss.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        self.reduction = reduction_of(size_average, reduce, reduction)
        self.weight = _given(weight)

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Logits and targets [N, C] in; a scalar, or [N], out."""
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class MultiMarginLoss(Module):
    """Hinge over classes: the mean over i of max(0, margin - x[target] + x[i])^p, i not the target.

    Args:
        p: 1 or 2.
        margin: by how much the score of the target should be the largest.
        weight: [C], of the target's class, or None.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: at a call, the input is not floating, or the target not integer.
        ValueError: p is neither 1 nor 2; weight has not one axis; at a call, shapes do not fit or
            the reduction is unknown.

    Source: torch.nn.MultiMarginLoss.
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: expected p 1 or 2, got {p}")
        self.reduction = reduction_of(size_average, reduce, reduction)
        self.p, self.margin, self.weight = p, margin, _given(weight)
        if weight is not None and len(self.weight.shape) != 1:
            raise ValueError(
                f"MultiMarginLoss: expected weight [C], got {list(self.weight.shape)}; "
                "give one number per class"
            )

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Scores [N, C] or [C] and classes [N] or [] in; a scalar, or the target's shape, out."""
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class TripletMarginLoss(Module):
    """max(0, margin + |anchor - positive| - |anchor - negative|).

    Args:
        margin: by how much the negative should be farther away.
        p: of the norm, along the last axis.
        eps: added to each difference.
        swap: take the distance from the positive to the negative, where that is the smaller one.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: at a call, an argument is of booleans.
        ValueError: margin is not positive; at a call, numbers of axes differ, shapes do not
            broadcast or the reduction is unknown.

    Source: torch.nn.TripletMarginLoss.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        _check_margin(self, margin)
        self.reduction = reduction_of(size_average, reduce, reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: jax.Array, positive: jax.Array, negative: jax.Array) -> jax.Array:
        """Three of [N, D] or [D] in; a scalar, or [N], out."""
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap,
            reduction=self.reduction,
        )  # fmt: skip


class TripletMarginWithDistanceLoss(Module):
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) with a distance of one's own.

    Args:
        distance_function: of two arrays: a function or a module; None is `PairwiseDistance()`.
        margin: by how much the negative should be farther away.
        swap: take the distance from the positive to the negative, where that is the smaller one.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: margin is not positive; at a call, numbers of axes differ or the reduction is
            unknown.

    Source: torch.nn.TripletMarginWithDistanceLoss.
    """

    def __init__(
        self,
        *,
        distance_function: Distance | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ):
        _check_margin(self, margin)
        self.reduction = reduction
        self.distance_function: Any = (
            PairwiseDistance() if distance_function is None else distance_function
        )
        self.margin, self.swap = margin, swap

    def forward(self, anchor: jax.Array, positive: jax.Array, negative: jax.Array) -> jax.Array:
        """Three arrays that the distance takes in; a scalar, or its shape, out."""
        return F.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function,
            margin=self.margin, swap=self.swap, reduction=self.reduction,
        )  # fmt: skip


def _check_margin(module, margin):
    if margin <= 0:
        raise ValueError(f"{type(module).__name__}: expected margin > 0, got {margin}")
