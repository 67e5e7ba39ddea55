"""Connectionist temporal classification: a sequence of labels without their times."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fx.functional.dtypes import accumulate, as_index
from fx.functional.loss import check_reduction

Lengths = jax.Array | Sequence[int] | int


def ctc_loss(
    log_probs: jax.Array,
    targets: jax.Array,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> jax.Array:
    """Negative log-likelihood of the labels, over all ways to spread them in time.

    Args:
        log_probs: [T, N, C] or [T, C], log-probabilities, as `log_softmax` gives them.
        targets: integers [N, S], padded at the end with anything; or one behind the other,
            [sum(target_lengths)]; [S] without N. Not the blank.
        input_lengths: [N], of the T; [] without N.
        target_lengths: [N], of the labels; [] without N. A label that is out of range makes the
            loss NaN, and so does a length that is traced: a compiled function cannot raise on a
            value as torch does.
        blank: the class of no label.
        reduction: "mean" (each loss divided by its number of labels, then averaged), "sum" or
            "none".
        zero_infinity: 0, without a gradient, in place of an infinite loss: that of labels which do
            not fit into their time.

    Returns:
        A scalar, or [N] with reduction "none"; the input's dtype.

    Raises:
        TypeError: log_probs is not floating, or the targets or lengths are not integer.
        ValueError: shapes do not fit; log_probs is empty; blank is outside [0, C); the reduction is
            unknown; a length that is not traced is longer than its sequence, or those of targets
            [sum(target_lengths)] have another sum.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> even = jax.nn.log_softmax(jnp.zeros((2, 1, 2)))  # of 4 ways, 3 read as one label 1
        >>> loss = ctc_loss(even, jnp.array([[1]]), (2,), (1,), reduction="sum")
        >>> round(float(jnp.exp(-loss)), 4)
        0.75

    Source: torch.nn.functional.ctc_loss. The gradient is torch's: that of log_probs which are the
    result of a `log_softmax`, exp(log_probs) less the labels' posterior. Where the loss is infinite
    that posterior is 0 here, and NaN in torch.
    """
    where = "ctc_loss"
    check_reduction(reduction, where)
    x, targets = accumulate(log_probs, where), jnp.asarray(targets)
    if x.ndim not in (2, 3):
        raise ValueError(f"{where}: expected log_probs [T, N, C] or [T, C], got {list(x.shape)}")
    if 0 in x.shape:
        raise ValueError(f"{where}: expected log_probs with elements, got {list(x.shape)}")
    if not 0 <= blank < x.shape[-1]:
        raise ValueError(f"{where}: expected blank in [0, {x.shape[-1]}), the classes, got {blank}")
    batched = x.ndim == 3
    x = x if batched else x[:, None]
    steps = _lengths(input_lengths, x, batched, "input_lengths")
    counts = _lengths(target_lengths, x, batched, "target_lengths")
    labels, held = _padded(targets, counts, x, batched, target_lengths)
    _check_known(input_lengths, x.shape[0], "input_lengths")
    _check_known(target_lengths, targets.shape[-1], "target_lengths", whole=targets.ndim == 1)
    loss = _negative_log_likelihood(x, labels, steps, counts, blank)
    outside = jnp.arange(labels.shape[1], dtype=counts.dtype) < counts[:, None]
    outside = jnp.any(outside & ((labels < 0) | (labels >= x.shape[-1])), 1)
    outside |= ~held | (steps < 0) | (steps > x.shape[0])
    if zero_infinity:
        loss = jnp.where(loss == jnp.inf, 0, loss)
    loss = jnp.where(outside, jnp.nan, loss)
    if reduction == "mean":
        loss = jnp.mean(loss / jnp.maximum(counts, 1).astype(loss.dtype))
    elif reduction == "sum":
        loss = jnp.sum(loss)
    elif not batched:
        loss = loss[0]
    return loss.astype(jnp.asarray(log_probs).dtype)


def _negative_log_likelihood(x, labels, steps, counts, blank):
    """The forward recursion over time, on blanks and labels in turn: [N]."""
    size = 2 * labels.shape[1] + 1
    at = jnp.arange(size, dtype=counts.dtype)
    # blank, label, blank, label, ..., blank: [N, 2 S + 1]
    states = jnp.full((labels.shape[0], size), blank, labels.dtype).at[:, 1::2].set(labels)
    states = jnp.clip(states, 0, x.shape[-1] - 1)
    skips = (at % 2 == 1) & (at > 1) & (states != jnp.roll(states, 2, 1))
    emitted = jnp.take_along_axis(x, states[None], 2)  # [T, N, 2 S + 1]
    # Before the first step stands the first blank, which the first label can follow.
    start = jnp.where(at == 0, 0, -jnp.inf) + jnp.zeros_like(x, shape=states.shape)

    def step(alpha, inputs):
        now, emission = inputs
        one = jnp.pad(alpha, ((0, 0), (1, 0)), constant_values=-jnp.inf)[:, :-1]
        two = jnp.pad(alpha, ((0, 0), (2, 0)), constant_values=-jnp.inf)[:, :-2]
        moved = emission + _log_sum(jnp.stack([alpha, one, jnp.where(skips, two, -jnp.inf)]))
        return jnp.where(now < steps[:, None], moved, alpha), None

    times = jnp.arange(x.shape[0], dtype=steps.dtype)
    alpha, _ = jax.lax.scan(step, start, (times, emitted))
    ends = (at == 2 * counts[:, None]) | (at == 2 * counts[:, None] - 1)
    likelihood = _log_sum(jnp.where(ends, alpha, -jnp.inf).T)
    within = times[:, None] < steps
    return -likelihood + jnp.sum(jnp.where(within, _normaliser(x), 0), 0)


def _log_sum(terms):
    """log(sum(exp(terms))) along axis 0, with a gradient of 0 where all are -inf."""
    top = jax.lax.stop_gradient(jnp.max(terms, 0))
    top = jnp.where(top == -jnp.inf, 0, top)
    total = jnp.sum(jnp.exp(terms - top), 0)
    return jnp.where(total == 0, -jnp.inf, jnp.log(jnp.where(total == 0, 1, total)) + top)


@jax.custom_jvp
def _normaliser(x):
    """log(sum(exp(x))) over the classes, where that is 0, with its gradient exp(x)."""
    return jnp.zeros_like(x, shape=x.shape[:-1])


@_normaliser.defjvp
def _normaliser_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _normaliser(x), jnp.sum(jnp.exp(x) * dx, -1)


def _lengths(lengths, x, batched, name):
    value = jnp.asarray(np.asarray(lengths) if isinstance(lengths, list | tuple) else lengths)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"ctc_loss: expected {name} integer, got {value.dtype}")
    expected = [(x.shape[1],)] if batched else [(), (1,)]
    if value.shape not in expected:
        raise ValueError(
            f"ctc_loss: expected {name} {list(expected[0])}, one for each sequence, got "
            f"{list(value.shape)}"
        )
    return as_index(value).reshape(x.shape[1])


def _check_known(lengths, most, name, whole=False):
    """Refuse what is out of range where it can be read; with `whole`, any other sum than `most`."""
    known = np.zeros(0, int) if isinstance(lengths, Tracer) else np.asarray(lengths)
    if known.size and (known.min() < 0 or known.max() > most or (whole and known.sum() != most)):
        raise ValueError(
            f"ctc_loss: expected {name} from 0 to {most}{' with that sum' * whole}, got "
            f"{known.tolist()}; sequences are no longer than their array"
        )


def _padded(targets, counts, x, batched, given):
    """Labels as [N, S], and whether each sequence has as many as it claims: [N]."""
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(
            f"ctc_loss: expected integer targets, got {targets.dtype}; "
            "convert them with .astype(jnp.int32)"
        )
    targets, batch = as_index(targets), x.shape[1]
    if targets.ndim == 2 and batched and targets.shape[0] == batch:
        return targets, (counts >= 0) & (counts <= targets.shape[1])
    if targets.ndim != 1:
        raise ValueError(
            f"ctc_loss: expected targets [{batch}, S] or [sum(target_lengths)] for log_probs "
            f"{list(x.shape)}, got {list(targets.shape)}"
        )
    total = targets.shape[0]
    ends = jnp.cumsum(counts, dtype=counts.dtype)
    traced = isinstance(given, Tracer)
    longest = total if traced or not np.size(given) else min(total, int(np.max(np.asarray(given))))
    at = (ends - counts)[:, None] + jnp.arange(max(longest, 0), dtype=counts.dtype)  # [N, S]
    held = (counts >= 0) & (counts <= total) & (ends[-1:] == total)
    padded = jnp.pad(targets, (0, 1))[jnp.clip(at, 0, total)]
    return padded, held
