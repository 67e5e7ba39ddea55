"""Losses of distances between embeddings: cosine and triplets."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fx.functional.distance import p_norm
from fx.functional.dtypes import accumulate
from fx.functional.loss import check_reduction, reduced, reduction_of
from fx.functional.margin_loss import at_least_0

Distance = Callable[[jax.Array, jax.Array], jax.Array]


def cosine_embedding_loss(
    input1: jax.Array,
    input2: jax.Array,
    target: jax.Array,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """1 - cos(input1, input2) where the target is 1, max(0, cos - margin) where it is -1.

    Args:
        input1: [N, D] or [D], floating.
        input2: as input1; N or D may be 1 in one of them.
        target: [N], or [] without N: 1 or -1. Any other value gives 0.
        margin: the cosine that what is labelled -1 may have.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or [N] with reduction "none"; input1's dtype.

    Raises:
        TypeError: an input is not floating.
        ValueError: shapes do not fit, or the reduction is unknown.

    Source: torch.nn.functional.cosine_embedding_loss, which adds 1e-12 to each square.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "cosine_embedding_loss"
    first, second = accumulate(input1, where), accumulate(input2, where)
    second, target = second.astype(first.dtype), jnp.asarray(target)
    axes = target.ndim
    if axes > 1 or first.ndim != axes + 1 or second.ndim != axes + 1:
        raise ValueError(
            f"{where}: expected inputs [N, D] and target [N], or [D] and [], got "
            f"{list(first.shape)}, {list(second.shape)} and {list(target.shape)}"
        )
    product = jnp.sum(first * second, axes)
    squares = (jnp.sum(jnp.square(first), axes) + 1e-12) * (
        jnp.sum(jnp.square(second), axes) + 1e-12
    )
    cosine = product / jnp.sqrt(squares)
    apart = jnp.where(target == -1, at_least_0(cosine - margin), 0)
    loss = jnp.where(target == 1, 1 - cosine, 0) + apart
    return reduced(loss, reduction, where).astype(jnp.asarray(input1).dtype)


def triplet_margin_loss(
    anchor: jax.Array,
    positive: jax.Array,
    negative: jax.Array,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """max(0, margin + |anchor - positive| - |anchor - negative|).

    Args:
        anchor: [..., D], floating.
        positive: [..., D], broadcast against the anchor.
        negative: [..., D], broadcast against the anchor.
        margin: by how much the negative should be farther away.
        p: of the norm, along the last axis.
        eps: added to each difference.
        swap: take the distance from the positive to the negative, where that is the smaller one.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or [...] with reduction "none"; the anchor's dtype.

    Raises:
        TypeError: an argument is not floating.
        ValueError: margin is not positive; numbers of axes differ; the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> a, b, c = jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]), jnp.array([[1.5, 0.0]])
        >>> round(float(triplet_margin_loss(a, b, c)), 4)
        0.5
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "triplet_margin_loss"
    wide = [accumulate(x, where) for x in (anchor, positive, negative)]
    wide = [x.astype(wide[0].dtype) for x in wide]
    loss = _triplet(wide, lambda a, b: p_norm(a - b + eps, p), margin, swap, where)
    return reduced(loss, reduction, where).astype(jnp.asarray(anchor).dtype)


def triplet_margin_with_distance_loss(
    anchor: jax.Array,
    positive: jax.Array,
    negative: jax.Array,
    *,
    distance_function: Distance | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> jax.Array:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) with a distance of one's own.

    Args:
        anchor: [...], whatever the distance takes.
        positive: [...], with as many axes.
        negative: [...], with as many axes.
        distance_function: of two arrays; None is the Euclidean one along the last axis.
        margin: by how much the negative should be farther away.
        swap: take the distance from the positive to the negative, where that is the smaller one.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or the distances' shape with reduction "none"; the distances' dtype.

    Raises:
        ValueError: margin is not positive; numbers of axes differ; the reduction is unknown.
    """
    where = "triplet_margin_with_distance_loss"
    check_reduction(reduction, where)
    if distance_function is None:
        return triplet_margin_loss(
            anchor, positive, negative, margin, swap=swap, reduction=reduction
        )
    arrays = [jnp.asarray(x) for x in (anchor, positive, negative)]
    return reduced(_triplet(arrays, distance_function, margin, swap, where), reduction, where)


def _triplet(arrays, distance, margin, swap, where):
    anchor, positive, negative = arrays
    if margin <= 0:
        raise ValueError(f"{where}: expected margin > 0, got {margin}")
    if len({x.ndim for x in arrays}) > 1:
        shapes = " and ".join(str(list(x.shape)) for x in arrays)
        raise ValueError(f"{where}: expected three inputs with as many axes, got {shapes}")
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = jnp.minimum(far, distance(positive, negative))
    return at_least_0(margin + near - far)
