"""Losses of margins: how far scores are on the right side.

Sums are taken in float32 (float64 for float64), and the result has the input's dtype, or, where the
docstring says so, that of all arrays together: of two unlike ones float32 at least, as in torch.
Shapes broadcast as in torch, which does so without a warning in these. What is not positive has no
gradient at 0, where torch's has none.
"""

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate, as_index, common_float
from fx.functional.exponential import softplus
from fx.functional.loss import check_reduction, reduced, reduction_of


def hinge_embedding_loss(
    input: jax.Array,
    target: jax.Array,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """The input where the target is 1, max(0, margin - input) where it is -1.

    Args:
        input: [...], floating; a distance, say.
        target: 1 or -1, broadcast against the input. Any other value gives the sum of both.
        margin: how far apart what is labelled -1 should be.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or the broadcast shape with reduction "none"; the input's dtype.

    Raises:
        TypeError: the input is not floating.
        ValueError: shapes do not broadcast, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> float(hinge_embedding_loss(jnp.array([0.25, 0.25]), jnp.array([1.0, -1.0])))
        0.5
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "hinge_embedding_loss"
    x, t = _together(where, input=accumulate(input, where), target=target)
    apart = jnp.where(t != 1, at_least_0(margin - x), 0)
    loss = apart + jnp.where(t != -1, x, 0)
    return reduced(loss, reduction, where).astype(jnp.asarray(input).dtype)


def margin_ranking_loss(
    input1: jax.Array,
    input2: jax.Array,
    target: jax.Array,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """max(0, margin - target * (input1 - input2)).

    Args:
        input1: [...], floating.
        input2: [...], broadcast against input1.
        target: 1 where input1 should be the larger, -1 where input2; broadcast against both.
        margin: by how much.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or the broadcast shape with reduction "none"; the three arrays' dtype together.

    Raises:
        TypeError: an input is not floating.
        ValueError: the three have different numbers of axes, or shapes that do not broadcast; the
            reduction is unknown.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "margin_ranking_loss"
    first, second = accumulate(input1, where), accumulate(input2, where)
    shapes = [list(jnp.shape(a)) for a in (input1, input2, target)]
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(
            f"{where}: expected input1, input2 and target with as many axes as each other, got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}; add axes of length 1"
        )
    first, second, t = _together(where, input1=first, input2=second, target=target)
    loss = at_least_0(-t * (first - second) + margin)
    return reduced(loss, reduction, where).astype(_together_float(input1, input2, target))


def soft_margin_loss(
    input: jax.Array,
    target: jax.Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """log(1 + exp(-target * input)).

    Args:
        input: [...], floating.
        target: 1 or -1, broadcast to the input's shape.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or [...] with reduction "none"; the input's dtype.

    Raises:
        TypeError: the input is not floating.
        ValueError: the target does not broadcast to the input, or the reduction is unknown.

    Source: torch.nn.functional.soft_margin_loss, whose exponential overflows for large inputs; here
    the loss goes on as -target * input.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "soft_margin_loss"
    x, t = _together(where, input=accumulate(input, where), target=target)
    loss = softplus(-t * x)
    if loss.shape != x.shape:
        raise ValueError(
            f"{where}: expected target {list(x.shape)}, the input's shape, got {list(t.shape)}"
        )
    return reduced(loss, reduction, where).astype(jnp.asarray(input).dtype)


def multi_margin_loss(
    input: jax.Array,
    target: jax.Array,
    p: int = 1,
    margin: float = 1.0,
    weight: jax.Array | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """Hinge over classes: the mean over i of max(0, margin - x[target] + x[i])^p, i not the target.

    Args:
        input: [N, C] or [C], scores.
        target: integers [N], or [] or [1] without N, classes in [0, C). A class outside makes the
            loss NaN: a compiled function cannot raise on a value as torch does.
        p: 1 or 2.
        margin: by how much the score of the target should be the largest.
        weight: [C], of the target's class, or None; the mean is the plain one.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or the target's shape with reduction "none"; the input's dtype.

    Raises:
        TypeError: the input is not floating, or the target not integer.
        ValueError: p is neither 1 nor 2; shapes do not fit; the reduction is unknown.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "multi_margin_loss"
    check_reduction(reduction, where)
    if p not in (1, 2):
        raise ValueError(f"{where}: expected p 1 or 2, got {p}")
    x, target = accumulate(input, where), jnp.asarray(target)
    rows = _rows(x, where)
    _check_integer(target, where)
    expected = [rows.shape[:1]] if x.ndim == 2 else [(), (1,)]
    if target.shape not in expected:
        raise ValueError(
            f"{where}: expected target {list(expected[0])}, one class for each row of the input "
            f"{list(x.shape)}, got {list(target.shape)}"
        )
    classes = rows.shape[1]
    if weight is not None and weight.shape != (classes,):
        raise ValueError(
            f"{where}: expected weight [{classes}], one per class of the input {list(x.shape)}, "
            f"got {list(weight.shape)}"
        )
    index = as_index(target).reshape(-1, 1)
    chosen = index == jnp.arange(classes, dtype=index.dtype)  # [N, C]
    right = jnp.sum(jnp.where(chosen, rows, 0), 1, keepdims=True)
    hinge = jnp.where(chosen, 0, jax.nn.relu(margin - right + rows)) ** p
    loss = jnp.sum(hinge, 1) / classes
    if weight is not None:
        loss = loss * jnp.sum(jnp.where(chosen, jnp.asarray(weight, x.dtype), 0), 1)
    loss = jnp.where(jnp.any(chosen, 1), loss, jnp.nan).reshape(target.shape)
    return reduced(loss, reduction, where).astype(jnp.asarray(input).dtype)


def multilabel_margin_loss(
    input: jax.Array,
    target: jax.Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """Hinge between the classes that hold and those that do not.

    Args:
        input: [N, C] or [C], scores.
        target: integers of the input's shape: the classes that hold, from the left, ended by the
            first -1. A class of C or more makes the loss NaN: a compiled function cannot raise on a
            value as torch does.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or [N] with reduction "none"; the input's dtype. For each class that is listed,
        max(0, 1 - x[class] + x[i]) is summed over all i that are not, and divided by C.

    Raises:
        TypeError: the input is not floating, or the target not integer.
        ValueError: shapes differ, or the reduction is unknown.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "multilabel_margin_loss"
    check_reduction(reduction, where)
    x, target = accumulate(input, where), jnp.asarray(target)
    rows = _rows(x, where)
    _check_integer(target, where)
    if target.shape != x.shape:
        raise ValueError(
            f"{where}: expected target {list(x.shape)}, the input's shape, got "
            f"{list(target.shape)}; fill it up with -1"
        )
    classes = rows.shape[1]
    labels = as_index(target).reshape(rows.shape)
    listed = jnp.cumsum(labels < 0, 1) == 0  # [N, J]
    named = listed[..., None] & (
        labels[..., None] == jnp.arange(classes, dtype=labels.dtype)
    )  # [N, J, C]
    right = jnp.sum(jnp.where(named, rows[:, None], 0), 2)  # [N, J]
    counts = listed[..., None] & ~jnp.any(named, 1)[:, None]
    hinge = jnp.where(counts, jax.nn.relu(1 - right[..., None] + rows[:, None]), 0)
    loss = jnp.sum(hinge, (1, 2)) / classes
    loss = jnp.where(jnp.any(listed & (labels >= classes), 1), jnp.nan, loss)
    loss = loss if x.ndim == 2 else loss[0]
    return reduced(loss, reduction, where).astype(jnp.asarray(input).dtype)


def multilabel_soft_margin_loss(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """Cross entropy of sigmoid(input), averaged over the classes on the last axis.

    Args:
        input: [..., C], logits.
        target: of each class, in [0, 1]; broadcast against the input.
        weight: of each class, broadcast against the input, or None.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or [...] with reduction "none"; the arrays' dtype together.

    Raises:
        TypeError: the input is not floating.
        ValueError: the input is a scalar; shapes do not broadcast; the reduction is unknown.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "multilabel_soft_margin_loss"
    check_reduction(reduction, where)
    logits = accumulate(input, where)
    if logits.ndim == 0:
        raise ValueError(f"{where}: expected input [..., C], got a scalar")
    dtype = _together_float(*(a for a in (input, target, weight) if a is not None))
    x, t = _together(where, input=logits, target=target)
    loss = t * softplus(-x) + (1 - t) * softplus(x)
    if weight is not None:
        loss, weight = _together(where, input=loss, weight=weight)
        loss = loss * weight
    loss = jnp.sum(loss, logits.ndim - 1) / logits.shape[-1]
    return reduced(loss, reduction, where).astype(dtype)


def at_least_0(x: jax.Array) -> jax.Array:
    """max(x, 0) with torch's gradient at 0, that of clamp, which is 1; NaN stays."""
    return jnp.where(x < 0, 0, x)


def _together(where, **arrays):
    """The arrays in the dtype of the first, of one number of axes, after a check of shapes."""
    first = next(iter(arrays.values()))
    arrays = {name: jnp.asarray(a).astype(first.dtype) for name, a in arrays.items()}
    shapes = [a.shape for a in arrays.values()]
    try:
        shape = jnp.broadcast_shapes(*shapes)
    except ValueError:
        got = ", ".join(f"{name} {list(a.shape)}" for name, a in arrays.items())
        raise ValueError(
            f"{where}: expected shapes that broadcast, got {got}; reshape one of them"
        ) from None
    return [a.reshape((1,) * (len(shape) - a.ndim) + a.shape) for a in arrays.values()]


def _together_float(*arrays):
    return common_float(*map(jnp.asarray, arrays))


def _rows(x, where):
    """[N, C] of an input [N, C], [C] or []."""
    if x.ndim > 2 or (x.ndim and x.shape[-1] == 0):
        raise ValueError(
            f"{where}: expected input [N, C] or [C] with a class or more, got {list(x.shape)}"
        )
    return x if x.ndim == 2 else x.reshape(1, -1)


def _check_integer(target, where):
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise TypeError(
            f"{where}: expected integer classes, got {target.dtype} {list(target.shape)}; "
            "convert them with .astype(jnp.int32)"
        )
