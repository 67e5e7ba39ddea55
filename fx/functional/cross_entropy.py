"""Losses over classes."""

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate, as_index, common_float
from fx.functional.loss import check_reduction, reduced, reduction_of


def cross_entropy(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Cross entropy of softmax(input) against classes or their probabilities.

    Args:
        input: [N, C], [N, C, d1, ...] or [C], logits.
        target: integers [N], [N, d1, ...] or [] ([1] too), classes in [0, C); or floating and of
            the input's shape, probabilities of the classes. A class outside of [0, C), ignore_index
            apart, makes the loss NaN: a compiled function cannot raise on a value as torch does.
        weight: [C], of the classes, or None. The mean is then the weighted one (with
            probabilities as target it is the plain one, as in torch).
        ignore_index: the class that counts for nothing, in the mean's denominator too; negative
            when target has probabilities. If all are ignored, the mean is NaN.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".
        label_smoothing: the share, in [0, 1], of a uniform distribution in the target.

    Returns:
        A scalar, or the shape of classes with reduction "none"; the input's dtype, or, with
        probabilities, that of all arrays together: of two unlike ones float32, as in torch.

    Raises:
        TypeError: the input is not floating, or the target is neither integer nor
            floating and of the input's shape.
        ValueError: shapes do not fit; the reduction is unknown; label_smoothing is out of range;
            ignore_index is 0 or more and target has probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(cross_entropy(jnp.zeros((2, 10)), jnp.array([3, 7]))), 4)
        2.3026

    Source: torch.nn.functional.cross_entropy.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    check_reduction(reduction, "cross_entropy")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: expected label_smoothing between 0 and 1, got {label_smoothing}"
        )
    x, target = accumulate(input, "cross_entropy"), jnp.asarray(target)
    axis = _class_axis(x, weight, "cross_entropy")
    log_p = jax.nn.log_softmax(x, axis)
    if target.shape == x.shape and jnp.issubdtype(target.dtype, jnp.floating):
        if ignore_index >= 0:
            raise ValueError(
                "cross_entropy: expected classes as target where ignore_index is given, got "
                f"probabilities and ignore_index={ignore_index}; leave it out"
            )
        loss = _soft(log_p, target.astype(x.dtype), weight, label_smoothing, axis)
        arrays = [a for a in (input, target, weight) if a is not None]
        dtype = common_float(*map(jnp.asarray, arrays))
        return reduced(loss, reduction, "cross_entropy").astype(dtype)
    target = _classes(target, x, axis, "cross_entropy")
    result = _hard(log_p, target, weight, ignore_index, reduction, label_smoothing, axis)
    return result.astype(jnp.asarray(input).dtype)


def nll_loss(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """Negative log-probability of the classes.

    Args:
        input: [N, C], [N, C, d1, ...] or [C], log-probabilities.
        target: integers [N], [N, d1, ...] or [], as in `cross_entropy`.
        weight: [C], of the classes, or None.
        ignore_index: the class that counts for nothing.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or the target's shape with reduction "none"; the input's dtype.

    Raises:
        TypeError: the input is not floating, or the target not integer.
        ValueError: shapes do not fit, or the reduction is unknown.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    check_reduction(reduction, "nll_loss")
    x, target = accumulate(input, "nll_loss"), jnp.asarray(target)
    axis = _class_axis(x, weight, "nll_loss")
    target = _classes(target, x, axis, "nll_loss")
    result = _hard(x, target, weight, ignore_index, reduction, 0.0, axis)
    return result.astype(jnp.asarray(input).dtype)


def _soft(log_p, target, weight, smoothing, axis):
    if smoothing:
        target = target * (1 - smoothing) + smoothing / log_p.shape[axis]
    if weight is not None:
        target = target * _per_class(weight, log_p, axis)
    return -jnp.sum(log_p * target, axis)


def _hard(log_p, target, weight, ignore_index, reduction, smoothing, axis):
    ignored = target == ignore_index
    classes = jax.lax.broadcasted_iota(target.dtype, log_p.shape, axis)
    # A comparison and a sum fuse, also under sharding, where a gather and its scatter do not.
    chosen = classes == jnp.expand_dims(target, axis)
    weights = jnp.ones_like(log_p) if weight is None else _per_class(weight, log_p, axis)

    def pick(values):
        return jnp.sum(jnp.where(chosen, values, 0), axis)

    outside = ~ignored & ~jnp.any(chosen, axis)
    loss = jnp.where(outside, jnp.nan, -pick(log_p * weights))
    if smoothing:
        smooth = -jnp.sum(log_p * weights, axis) / log_p.shape[axis]
        loss = (1 - smoothing) * loss + smoothing * smooth
    loss = jnp.where(ignored, 0, loss)
    if reduction != "mean":
        return reduced(loss, reduction, "cross_entropy")
    return jnp.sum(loss) / jnp.sum(jnp.where(ignored, 0, pick(weights)))


def _per_class(weight, log_p, axis):
    weight = jnp.asarray(weight).astype(log_p.dtype)
    shape = [-1 if i == axis else 1 for i in range(log_p.ndim)]
    return jnp.broadcast_to(weight.reshape(shape), log_p.shape)  # [N, C, ...]


def _class_axis(x, weight, where):
    if x.ndim == 0:
        raise ValueError(f"{where}: expected input [N, C, ...] or [C], got a scalar")
    axis = 1 if x.ndim > 1 else 0
    if weight is not None and weight.shape != (x.shape[axis],):
        raise ValueError(
            f"{where}: expected weight [{x.shape[axis]}], one per class of the input "
            f"{list(x.shape)}, got {list(weight.shape)}"
        )
    return axis


def _classes(target, x, axis, where):
    """The target as int32 or int64; a single one may be [1]."""
    expected = x.shape[:axis] + x.shape[axis + 1 :]
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise TypeError(
            f"{where}: expected integer classes {list(expected)} or, for cross_entropy, "
            f"probabilities {list(x.shape)}, got {target.dtype} {list(target.shape)}; "
            "convert classes with .astype(jnp.int32)"
        )
    if x.ndim == 1 and target.shape == (1,):
        target = target[0]
    if target.shape != expected:
        raise ValueError(
            f"{where}: expected target {list(expected)} for input {list(x.shape)}, "
            f"got {list(target.shape)}; classes stand on axis {axis} of the input"
        )
    return as_index(target)
