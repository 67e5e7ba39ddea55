"""Distances and similarities between vectors."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from fx.functional.dtypes import accumulate, accumulated, common_float, promoted


def cosine_similarity(x1: jax.Array, x2: jax.Array, dim: int = 1, eps: float = 1e-8) -> jax.Array:
    """The cosine of the angle between vectors.

    Args:
        x1: [..., D, ...], D at `dim`.
        x2: likewise; the two broadcast against each other, and one of them is floating.
        dim: the axis of the vectors, counted after broadcasting.
        eps: what a vector's length is at least taken for.

    Returns:
        The broadcast shape without `dim`; the wider dtype of the two.

    Raises:
        TypeError: neither input is floating.
        ValueError: the shapes do not broadcast, or have no axis `dim`.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(cosine_similarity(jnp.array([3.0, 4.0]), jnp.array([1.0, 0.0]), 0)), 4)
        0.6
    """
    where = "cosine_similarity"
    x1, x2, dtype = promoted(*together(x1, x2, where), where)
    if not x1.ndim:  # vectors of one
        x1, x2 = x1[None], x2[None]
    if not -x1.ndim <= dim < x1.ndim:
        raise ValueError(f"{where}: expected dim an axis of {list(x1.shape)}, got {dim}")
    return jnp.sum(_unit(x1, dim, eps) * _unit(x2, dim, eps), axis=dim).astype(dtype)


def pairwise_distance(
    x1: jax.Array, x2: jax.Array, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> jax.Array:
    """The p-norm of x1 - x2 + eps along the last axis.

    Args:
        x1: [..., D].
        x2: [..., D]; the two broadcast against each other.
        p: of the norm; may be infinite, 0 (which counts) or negative.
        eps: added to each difference.
        keepdim: whether the last axis stays, with size 1.

    Returns:
        [...] or [..., 1]; the wider floating dtype of the two, float32 of integers, whose
        difference is one of integers and may wrap around.

    Raises:
        TypeError: an input is of booleans.
        ValueError: the shapes do not broadcast; D is 0, and p infinite or negative.

    Example:
        >>> import jax.numpy as jnp
        >>> pairwise_distance(jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2))).round(4).tolist()
        [5.0]
    """
    dtype = common_float(jnp.asarray(x1), jnp.asarray(x2))
    distance = distance_of(x1, x2, p, eps, "pairwise_distance").astype(dtype)
    return distance[..., None] if keepdim and max(jnp.ndim(x1), jnp.ndim(x2)) else distance


def normalize(
    input: jax.Array, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12
) -> jax.Array:
    """Divides by the p-norm along dim, or by eps where the norm is smaller.

    Args:
        input: [...], floating; float16 and bfloat16 sum in float32.
        p: of the norm; may be infinite, 0 (which counts) or negative.
        dim: the axis or axes of the norm; () is all.
        eps: the least divisor.

    Returns:
        [...], the input's dtype. The gradient of a norm of 0 is 0, as in torch.

    Raises:
        TypeError: the input is not floating.
        ValueError: the input has no axis `dim`, or one twice; no elements are along it, and p is
            infinite or negative.
    """
    x = accumulate(input, "normalize")
    axes = _axes(x, dim)
    last = jnp.moveaxis(x, axes, range(-len(axes), 0)) if x.ndim else x[None]
    if x.size == 0:
        _check_elements(min(x.shape[axis] for axis in axes), p, "normalize")
    kept = last.shape[: last.ndim - len(axes)]
    norm = p_norm(last.reshape(*kept, math.prod(last.shape[len(kept) :])), p)
    norm = jnp.expand_dims(norm, axes) if x.ndim else norm
    return _ratio(x, jnp.maximum(norm, eps)).astype(jnp.asarray(input).dtype)


def pdist(input: jax.Array, p: float = 2.0) -> jax.Array:
    """The distances between all rows of a matrix.

    Args:
        input: [N, D], floating.
        p: of the norm, 0 or more, may be infinite.

    Returns:
        [N * (N - 1) / 2]: rows 0 and 1, 0 and 2, ..., 1 and 2, ...

    Raises:
        TypeError: the input is not floating.
        ValueError: the input does not have two axes, or p is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> pdist(jnp.array([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])).tolist()
        [5.0, 4.0, 3.0]
    """
    x = accumulate(input, "pdist")
    if x.ndim != 2:
        raise ValueError(f"pdist: expected input [N, D], got {list(x.shape)}")
    if p < 0:
        raise ValueError(f"pdist: expected p of 0 or more, got {p}")
    first, second = np.triu_indices(x.shape[0], 1)
    return p_norm(x[first] - x[second], p).astype(jnp.asarray(input).dtype)


def distance_of(x1: jax.Array, x2: jax.Array, p: float, eps: float, where: str) -> jax.Array:
    """`pairwise_distance` in the dtype that sums are taken in, for the function named by where."""
    x1, x2 = together(x1, x2, where)
    if jnp.bool_ in (x1.dtype, x2.dtype):
        raise TypeError(
            f"{where}: expected numbers, got {x1.dtype} and {x2.dtype}, of which torch takes no "
            "difference; convert booleans with .astype(jnp.float32)"
        )
    wide = accumulated(common_float(x1, x2))
    whole = all(jnp.issubdtype(x.dtype, jnp.integer) for x in (x1, x2))
    both = np.promote_types(x1.dtype, x2.dtype) if whole else wide  # may wrap around, as torch's
    difference = (x1.astype(both) - x2.astype(both)).astype(wide) + eps
    _check_elements(difference.shape[-1] if difference.ndim else 1, p, where)
    return p_norm(difference, p)


def p_norm(x: jax.Array, p: float) -> jax.Array:
    """The p-norm along the last axis, its gradient 0 where it is 0, as torch has it.

    Args:
        x: [..., D], or [], a vector of one.
        p: may be infinite, 0 (the number of elements that are not 0) or negative.

    Returns:
        [...].
    """
    x = x if x.ndim else x[None]
    size = jnp.abs(jnp.where(x == 0, 0, x))  # jnp.abs has the derivative 1 at 0, and torch 0
    if p in (float("inf"), float("-inf")):
        if not x.shape[-1]:
            return jnp.zeros(x.shape[:-1], x.dtype)
        return jnp.max(size, -1) if p > 0 else jnp.min(size, -1)
    if p == 0:
        return jnp.sum((x != 0).astype(x.dtype), -1)
    if p == 1:
        return jnp.sum(size, -1)
    if p == 2:
        return _euclidean(x)
    # A power or a root has an infinite derivative at 0: take it of 1 there, and put the 0 back.
    safe = jnp.where(x == 0, 1, size)
    total = jnp.sum(jnp.where(x == 0, 0.0 if p > 0 else jnp.inf, safe**p), -1)
    inside = (total > 0) & (total < jnp.inf)
    root = jnp.where(inside, total, 1) ** (1 / p)
    return jnp.where(inside, root, total if p > 0 else 1 / total)


@jax.custom_jvp
def _euclidean(x):
    """The length along the last axis, whose derivative is the direction: exactly 1 or -1 of one."""
    return jnp.sqrt(jnp.sum(jnp.square(x), -1))


@_euclidean.defjvp
def _euclidean_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    length = _euclidean(x)
    direction = x / jnp.where(length == 0, 1, length)[..., None]
    return length, jnp.sum(direction * dx, -1)


@jax.custom_jvp
def _ratio(x, length):
    """The quotient, whose derivatives cancel where a vector of one is divided by its length."""
    return x / length


@_ratio.defjvp
def _ratio_jvp(primals, tangents):
    (_, length), (dx, dlength) = primals, tangents
    ratio = _ratio(*primals)
    return ratio, (dx - ratio * dlength) / length


def _unit(x, dim, eps):
    """Vectors of length 1. Torch's clamp of the length has the gradient of the length."""
    length = jnp.expand_dims(p_norm(jnp.moveaxis(x, dim, -1), 2), dim)
    return _ratio(x, length + jax.lax.stop_gradient(jnp.maximum(eps - length, 0)))


def together(x1: jax.Array, x2: jax.Array, where: str) -> tuple[jax.Array, jax.Array]:
    """Two arrays in one shape, each of its own dtype."""
    x1, x2 = jnp.asarray(x1), jnp.asarray(x2)
    try:
        shape = jnp.broadcast_shapes(x1.shape, x2.shape)
    except ValueError:
        raise ValueError(
            f"{where}: expected inputs that broadcast against each other, got {list(x1.shape)} and "
            f"{list(x2.shape)}"
        ) from None
    return jnp.broadcast_to(x1, shape), jnp.broadcast_to(x2, shape)


def _axes(x, dim):
    """The axes of a norm, counted from 0; all for ()."""
    axes = dim if isinstance(dim, tuple | list) else (dim,)
    count = max(1, x.ndim)
    counted = tuple(axis % count for axis in axes if -count <= axis < count)
    if len(counted) < len(axes) or len(set(counted)) < len(axes):
        raise ValueError(
            f"normalize: expected dim an axis of {list(x.shape)}, or several, got {dim}"
        )
    return counted or tuple(range(count))


def _check_elements(size, p, where):
    if size == 0 and (p < 0 or p == math.inf):
        raise ValueError(
            f"{where}: expected vectors of 1 element or more for p={p}, got vectors of 0; the "
            "largest or smallest of none is not defined"
        )
