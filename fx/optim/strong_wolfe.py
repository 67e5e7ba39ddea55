"""The line search of L-BFGS, one evaluation of the loss after the other."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Found(NamedTuple):
    """Where a line search ended.

    Attributes:
        step: Length of the step, [].
        loss: There, [].
        grad: There, with the parameters' structure.
        evaluations: Of the loss, int32 [].
    """

    step: jax.Array
    loss: jax.Array
    grad: Any
    evaluations: jax.Array


class _Search(NamedTuple):
    """Between two evaluations.

    Attributes:
        evaluations: So far.
        step: Where to evaluate next.
        points: [2, 3], step, loss and slope at both ends of the bracket. While it is sought, the
            first of them is the point before.
        low: Which end has the lower loss, 0 or 1.
        grad: At that end.
        zooming: The bracket is found and shrinks.
        stuck: The trial before came close to an end of the bracket.
        done: `points[low]` is the result.
    """

    evaluations: jax.Array
    step: jax.Array
    points: jax.Array
    low: jax.Array
    grad: Any
    zooming: jax.Array
    stuck: jax.Array
    done: jax.Array


class _Line(NamedTuple):
    """What stays during a search."""

    start: jax.Array
    grad: Any
    limit: jax.Array
    reach: jax.Array
    tolerance: float
    c1: float
    c2: float


def strong_wolfe(
    evaluate: Callable[[jax.Array], tuple[jax.Array, Any, jax.Array]],
    step: jax.Array,
    loss: jax.Array,
    grad: Any,
    slope: jax.Array,
    limit: jax.Array,
    reach: jax.Array,
    tolerance: float,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> Found:
    """Find a step that lowers the loss enough and flattens its slope (strong Wolfe conditions).

    Args:
        evaluate: `step -> (loss, gradient, slope along the line)`.
        step: First trial, [].
        loss: At the start, [].
        grad: At the start.
        slope: At the start, negative, [].
        limit: Trials after the first, int32 [].
        reach: Largest change of a parameter in a step of length 1, [].
        tolerance: Change of a parameter below which a bracket is not refined.
        c1: Least decrease, as a share of the slope times the step.
        c2: Largest slope, as a share of that at the start.

    Returns:
        The step found, or the best one when the limit was reached.

    Source: `_strong_wolfe` of torch.optim.lbfgs, in its order of decisions. There two loops
    evaluate the loss in three places; here one loop does in one, which compiles the model once.
    """
    start = jnp.stack([jnp.zeros_like(step), loss, slope])
    line = _Line(start, grad, limit, reach, tolerance, c1, c2)
    no = jnp.zeros((), bool)
    zero = jnp.zeros((), jnp.int32)
    search = _Search(zero, step, jnp.stack([start, start]), zero, grad, no, no, no)

    def body(search: _Search) -> _Search:
        loss, grad, slope = evaluate(search.step)
        new = jnp.stack([search.step, loss, slope])
        bracketed = _after_bracketing(search, line, new, grad)
        zoomed = _after_zooming(search, line, new, grad)
        return _next_trial(_select(search.zooming, zoomed, bracketed), line)

    search = jax.lax.while_loop(lambda search: ~search.done, body, search)
    best = search.points[search.low]
    return Found(best[0], best[1], search.grad, search.evaluations)


def _after_bracketing(search: _Search, line: _Line, new: jax.Array, grad: Any) -> _Search:
    before = search.points[0]
    trials = search.evaluations
    ended = trials >= line.limit
    rises = _too_high(line, new) | ((trials > 1) & (new[1] >= before[1]))
    flat = ~ended & ~rises & _is_flat(line, new)
    zooming = ~ended & ~flat & (rises | (new[2] >= 0))
    first = jnp.where(ended, line.start, jnp.where(zooming, before, new))
    low = _end(~((ended | zooming) & (first[1] <= new[1])))
    wide = _cubic_minimum(before, new, new[0] + 0.01 * (new[0] - before[0]), new[0] * 10)
    kept = _select(ended, line.grad, search.grad)
    return search._replace(
        evaluations=trials + 1,
        step=wide,
        points=jnp.stack([first, new]),
        low=low,
        grad=_select(low == 0, kept, grad),
        zooming=zooming,
        done=ended | flat,
    )


def _after_zooming(search: _Search, line: _Line, new: jax.Array, grad: Any) -> _Search:
    points, low, high = search.points, search.low, 1 - search.low
    worse = _too_high(line, new) | (new[1] >= points[low, 1])
    flat = ~worse & _is_flat(line, new)
    turned = new[2] * (points[high, 0] - points[low, 0]) >= 0
    if_worse = points.at[high].set(new)
    opposite = jnp.where(~flat & turned, points[low], points[high])
    if_better = points.at[high].set(opposite).at[low].set(new)
    low_if_worse = _end(~(if_worse[0, 1] <= if_worse[1, 1]))
    return search._replace(
        evaluations=search.evaluations + 1,
        points=jnp.where(worse, if_worse, if_better),
        low=jnp.where(worse, low_if_worse, low),
        grad=_select(~worse | (low_if_worse == high), grad, search.grad),
        done=flat,
    )


def _next_trial(search: _Search, line: _Line) -> _Search:
    """Where to go on in a bracket: the cubic's minimum, but not twice close to an end."""
    first, second = search.points
    left, right = jnp.minimum(first[0], second[0]), jnp.maximum(first[0], second[0])
    ended = (right - left) * line.reach < line.tolerance
    ended = ended | (search.evaluations - 1 >= line.limit)
    step = _cubic_minimum(first, second, left, right)
    margin = 0.1 * (right - left)
    close = jnp.minimum(right - step, step - left) < margin
    push = close & (search.stuck | (step >= right) | (step <= left))
    inside = jnp.where(abs(step - right) < abs(step - left), right - margin, left + margin)
    return search._replace(
        step=jnp.where(search.zooming, jnp.where(push, inside, step), search.step),
        stuck=search.zooming & close & ~push,
        done=search.done | (search.zooming & ended),
    )


def _cubic_minimum(
    first: jax.Array, second: jax.Array, lowest: jax.Array, highest: jax.Array
) -> jax.Array:
    """Of the cubic through two points with their slopes; the middle where it has none."""
    left = jnp.where(first[0] <= second[0], first, second)
    right = jnp.where(first[0] <= second[0], second, first)
    (x1, f1, g1), (x2, f2, g2) = left, right
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    d2 = jnp.sqrt(jnp.maximum(square, 0.0))
    minimum = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    inside = jnp.minimum(jnp.maximum(minimum, lowest), highest)
    return jnp.where(square >= 0, inside, (lowest + highest) / 2)


def _too_high(line: _Line, new: jax.Array) -> jax.Array:
    return new[1] > line.start[1] + line.c1 * new[0] * line.start[2]


def _is_flat(line: _Line, new: jax.Array) -> jax.Array:
    return abs(new[2]) <= -line.c2 * line.start[2]


def _end(second: jax.Array) -> jax.Array:
    return second.astype(jnp.int32)


def _select(condition: jax.Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda y, n: jnp.where(condition, y, n), yes, no)
