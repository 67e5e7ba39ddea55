"""Losses of regression and of probabilities; those over classes are in `cross_entropy.py`.

Sums are taken in float32 (float64 for float64), and the result has the input's dtype, or, where the
docstring says so, that of input and target together: of two unlike ones float32 at least, as in
torch. torch's long deprecated size_average and reduce keep their places, and win over reduction
where one is given.
Targets must have the input's shape: torch only warns and broadcasts, and [N] against [N, 1] is then
a silent [N, N].
"""

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate, as_array, promoted
from fx.functional.exponential import softplus


def mse_loss(
    input: jax.Array,
    target: jax.Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: jax.Array | None = None,
) -> jax.Array:
    """Square of the difference.

    Args:
        input: [...].
        target: the input's shape; one of the two is floating.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".
        weight: the input's shape, or None; the mean is then the weighted one.

    Returns:
        A scalar, or [...] with reduction "none"; the dtype of input and target together.

    Raises:
        TypeError: neither input nor target is floating.
        ValueError: shapes differ, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> float(mse_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
        2.0
    """
    reduction = reduction_of(size_average, reduce, reduction)
    x, t, dtype = _promoted(input, target, "mse_loss")
    return _weighted(jnp.square(x - t), weight, reduction, "mse_loss").astype(dtype)


def l1_loss(
    input: jax.Array,
    target: jax.Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: jax.Array | None = None,
) -> jax.Array:
    """Absolute difference; arguments as `mse_loss`, but not of booleans, as in torch."""
    reduction = reduction_of(size_average, reduce, reduction)
    check_numbers(input, target, "l1_loss")
    x, t, dtype = _promoted(input, target, "l1_loss")
    return _weighted(_distance(x, t), weight, reduction, "l1_loss").astype(dtype)


def smooth_l1_loss(
    input: jax.Array,
    target: jax.Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> jax.Array:
    """d^2 / (2 beta) where the difference |d| < beta, |d| - beta / 2 elsewhere.

    Arguments as `mse_loss`; beta 0 gives `l1_loss`.

    Raises:
        ValueError: beta is negative; see `mse_loss` for the others.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: expected beta >= 0, got {beta}; 0 is l1_loss")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    x, t, dtype = _promoted(input, target, "smooth_l1_loss")
    distance = _distance(x, t)
    near = ~(distance >= beta)  # with what is no number, whose gradient is none either
    loss = jnp.where(near, 0.5 * _square(x - t, near) / beta, distance - 0.5 * beta)
    return reduced(loss, reduction, "smooth_l1_loss").astype(dtype)


def huber_loss(
    input: jax.Array,
    target: jax.Array,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: jax.Array | None = None,
) -> jax.Array:
    """d^2 / 2 where the difference |d| < delta, delta * (|d| - delta / 2) elsewhere.

    Arguments as `mse_loss`, but the mean with a weight is the plain mean of the weighted losses, as
    in torch.

    Raises:
        ValueError: delta is not positive; see `mse_loss` for the others.
    """
    if delta <= 0:
        raise ValueError(f"huber_loss: expected delta > 0, got {delta}")
    x, t = _pair(input, target, "huber_loss")
    distance = _distance(x, t)
    near = ~(distance >= delta)  # at delta itself the second derivative is 0, as in torch
    loss = jnp.where(near, 0.5 * _square(x - t, near), delta * (distance - 0.5 * delta))
    if weight is not None:
        loss = loss * _like(weight, loss, "huber_loss", "weight")
    return reduced(loss, reduction, "huber_loss").astype(jnp.asarray(input).dtype)


def binary_cross_entropy(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> jax.Array:
    """Cross entropy between probabilities of two classes.

    Args:
        input: [...], probabilities. One outside of [0, 1] gives NaN: a compiled function cannot
            raise on a value as torch does.
        target: the input's shape, in [0, 1].
        weight: of each element, broadcast against the input, or None.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or [...] with reduction "none"; the input's dtype.

    Raises:
        TypeError: the input is not floating.
        ValueError: shapes differ, or the reduction is unknown.

    Source: torch.nn.functional.binary_cross_entropy: logarithms end at -100, and the gradient is
    (x - t) / max(x (1 - x), 1e-12); the target's ends at 100 as well, where torch's is infinite.
    `binary_cross_entropy_with_logits` is the more accurate one.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    x, t = _pair(input, target, "binary_cross_entropy")
    loss = _binary_cross_entropy(x, t)
    if weight is not None:
        loss = loss * _spread(weight, loss, "binary_cross_entropy", "weight")
    return reduced(loss, reduction, "binary_cross_entropy").astype(jnp.asarray(input).dtype)


@jax.custom_jvp
def _binary_cross_entropy(x, t):
    return -t * jnp.maximum(jnp.log(x), -100) - (1 - t) * jnp.maximum(jnp.log1p(-x), -100)


@_binary_cross_entropy.defjvp
def _binary_cross_entropy_jvp(primals, tangents):
    (x, t), (x_dot, t_dot) = primals, tangents
    by_x = (x - t) / jnp.maximum((1 - x) * x, 1e-12)
    return _binary_cross_entropy(x, t), by_x * x_dot + _log_odds_against(x) * t_dot


@jax.custom_jvp
def _log_odds_against(x):
    """log((1 - x) / x), with a derivative that ends where the loss's ends: it is NaN at 0 and 1."""
    return jnp.maximum(jnp.log1p(-x), -100) - jnp.maximum(jnp.log(x), -100)


@_log_odds_against.defjvp
def _log_odds_against_jvp(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return _log_odds_against(x), -x_dot / jnp.maximum((1 - x) * x, 1e-12)


def binary_cross_entropy_with_logits(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: jax.Array | None = None,
) -> jax.Array:
    """Cross entropy of sigmoid(x), without overflow.

    Args:
        input: [...], logits.
        target: the input's shape, in [0, 1].
        weight: of each element, broadcast against the input, or None.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".
        pos_weight: of the positive part, broadcast against the input, or None.

    Returns:
        A scalar, or [...] with reduction "none"; the dtype of input and target together, float32
        for bfloat16 logits of float32 targets.

    Raises:
        TypeError: the input is not floating.
        ValueError: shapes differ, or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(binary_cross_entropy_with_logits(jnp.zeros(2), jnp.array([0.0, 1.0]))), 4)
        0.6931
    """
    reduction = reduction_of(size_average, reduce, reduction)
    where = "binary_cross_entropy_with_logits"
    accumulate(input, where)
    x, t, dtype = _promoted(input, target, where)
    positive = 1
    if pos_weight is not None:
        positive = 1 + (_spread(pos_weight, x, where, "pos_weight") - 1) * t
    loss = (1 - t) * x + positive * softplus(-x)
    if weight is not None:
        loss = loss * _spread(weight, loss, where, "weight")
    return reduced(loss, reduction, where).astype(dtype)


def kl_div(
    input: jax.Array,
    target: jax.Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> jax.Array:
    """Kullback-Leibler divergence: target * (log(target) - input).

    Args:
        input: [N, ...], log-probabilities.
        target: the input's shape, probabilities; log-probabilities if log_target.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "batchmean" (the divergence of the definition), "mean" (over all elements),
            "sum" or "none".
        log_target: whether target is in the log space.

    Returns:
        A scalar, or [N, ...] with reduction "none"; the dtype of input and target together.

    Raises:
        TypeError: the input or the target is not floating.
        ValueError: shapes differ, or the reduction is unknown.

    Source: torch.nn.functional.kl_div, whose gradient to a target of 0 is NaN; here it is that of
    -target * input.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    for name, value in (("kl_div", input), ("kl_div's target", target)):
        accumulate(value, name)
    x, t, dtype = _promoted(input, target, "kl_div")
    if log_target:
        loss = jnp.exp(t) * (t - x)
    else:
        # 0 log 0 is 0; the logarithm is taken of 1 there, so that no derivative is NaN.
        none = t == 0
        loss = jnp.where(none, 0, t * jnp.log(jnp.where(none, 1, t))) - t * x
    if reduction == "batchmean":
        result = jnp.sum(loss) / (x.shape[0] if x.ndim else 1)
    else:
        result = reduced(loss, reduction, "kl_div")
    return result.astype(dtype)


def reduced(loss: jax.Array, reduction: str, where: str) -> jax.Array:
    """Mean, sum, or the losses themselves; the mean of none is NaN, as in torch.

    Raises:
        ValueError: the reduction is unknown.
    """
    check_reduction(reduction, where)
    if reduction == "none":
        return loss
    return jnp.mean(loss) if reduction == "mean" else jnp.sum(loss)


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction, which torch's two deprecated arguments win over where one is given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is not None and not reduce:
        return "none"
    return "sum" if size_average is not None and not size_average else "mean"


def check_reduction(reduction: str, where: str) -> None:
    """Raises for a reduction that is not "mean", "sum" or "none"."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'{where}: expected reduction "mean", "sum" or "none", got {reduction!r}')


def check_numbers(input: jax.Array, target: jax.Array, where: str) -> None:
    """Raises for booleans, of which torch takes no difference."""
    if jnp.bool_ in (as_array(input, where).dtype, as_array(target, where).dtype):
        raise TypeError(
            f"{where}: expected numbers, got booleans; convert them with .astype(jnp.float32)"
        )


def _pair(input, target, where):
    x = accumulate(input, where)
    return x, _like(target, x, where, "target")


def _promoted(input, target, where):
    x, t, dtype = promoted(input, target, where)
    return x, _like(t, x, where, "target"), dtype


def _square(d, near):
    """d^2 where it is near; elsewhere no derivative, which would be NaN for an infinite d."""
    return jnp.square(jnp.where(near, d, 0))


def _distance(x, t):
    """|x - t| with torch's derivative at 0 and of NaN, which is 0; that of jnp.abs is 1 and -1."""
    d = x - t
    return jnp.abs(jnp.where(jnp.abs(d) > 0, d, jax.lax.stop_gradient(d)))


def _like(value, x, where, name):
    value = jnp.asarray(value)
    if value.shape != x.shape:
        raise ValueError(
            f"{where}: expected {name} {list(x.shape)}, the input's shape, got "
            f"{list(value.shape)}; reshape one of them, or broadcast on purpose with "
            "jnp.broadcast_to"
        )
    return value.astype(x.dtype)


def _spread(value, x, where, name):
    """A weight for each element of x, to whose shape it broadcasts."""
    value = jnp.asarray(value).astype(x.dtype)
    try:
        return jnp.broadcast_to(value, x.shape)
    except ValueError:
        raise ValueError(
            f"{where}: expected {name} that broadcasts to the input's {list(x.shape)}, got "
            f"{list(value.shape)}"
        ) from None


def _weighted(loss, weight, reduction, where):
    if weight is not None:
        weight = _like(weight, loss, where, "weight")
        loss = loss * weight
    result = reduced(loss, reduction, where)
    if weight is not None and reduction == "mean":
        result = jnp.sum(loss) / jnp.sum(weight)
    return result
