"""Losses of distances between embeddings: cosine and triplets."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fx.functional.distance import distance_of, together
from fx.functional.dtypes import accumulated, common_float, wider
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
        input1: [N, D] or [D].
        input2: as input1; N or D may be 1 in one of them.
        target: [N], or [] without N: 1 or -1. Any other value gives 0.
        margin: the cosine that what is labelled -1 may have.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or [N] with reduction "none"; the wider dtype of the inputs, where integers and
        booleans count as float32.

    Raises:
        ValueError: shapes do not fit, or the reduction is unknown.

    Source: torch.nn.functional.cosine_embedding_loss, which adds 1e-12 to each square.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "cosine_embedding_loss"
    first, second, target = jnp.asarray(input1), jnp.asarray(input2), jnp.asarray(target)
    axes = target.ndim
    if axes > 1 or first.ndim != axes + 1 or second.ndim != axes + 1:
        raise ValueError(
            f"{where}: expected inputs [N, D] and target [N], or [D] and [], got "
            f"{list(first.shape)}, {list(second.shape)} and {list(target.shape)}"
        )
    first, second = together(first, second, where)
    dtype = wider(common_float(first), common_float(second))
    first, second = first.astype(accumulated(dtype)), second.astype(accumulated(dtype))
    product = jnp.sum(first * second, axes)
    squares = (jnp.sum(jnp.square(first), axes) + 1e-12) * (
        jnp.sum(jnp.square(second), axes) + 1e-12
    )
    cosine = product / jnp.sqrt(squares)
    together(cosine, target, where)
    apart = jnp.where(target == -1, at_least_0(cosine - margin), 0)
    loss = jnp.where(target == 1, 1 - cosine, 0) + apart
    return reduced(loss, reduction, where).astype(dtype)


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
        anchor: [..., D].
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
        A scalar, or [...] with reduction "none"; the widest dtype of the distances, each
        of which has `pairwise_distance`'s.

    Raises:
        TypeError: an argument is of booleans.
        ValueError: margin is not positive; numbers of axes differ, or shapes do not broadcast; the
            reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> a, b, c = jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]), jnp.array([[1.5, 0.0]])
        >>> round(float(triplet_margin_loss(a, b, c)), 4)
        0.5
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "triplet_margin_loss"
    arrays = [jnp.asarray(x) for x in (anchor, positive, negative)]
    pairs = [arrays[:2], arrays[::2], *[arrays[1:]] * swap]
    dtype = wider(*(common_float(*pair) for pair in pairs))

    def distance(a, b):
        return distance_of(a, b, p, eps, where).astype(accumulated(dtype))

    loss = _triplet(arrays, distance, margin, swap, where)
    return reduced(loss, reduction, where).astype(dtype)


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
    together(near, far, where)
    if swap:
        far = jnp.minimum(far, distance(positive, negative))
    return at_least_0(margin + near - far)
