"""L-BFGS: several quasi-Newton iterations on one batch, all in one update."""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.parts import Rate, at_least_float32, check, check_params, with_learning_rate
from fx.optim.strong_wolfe import strong_wolfe


class LBFGSState(NamedTuple):
    """What L-BFGS remembers from one update to the next.

    Attributes:
        iterations: Over all updates, int32 [].
        evaluations: Of the loss over all updates, int32 [].
        direction: Of the last iteration, with the parameters' structure, as `gradient` below.
        step: Length of the last iteration's step, [].
        gradient: At the last iteration's start.
        gradients: Changes of the gradient, [history_size, ...] for each parameter.
        moves: Changes of the parameters, [history_size, ...] for each parameter.
        curvatures: One over the products of both, [history_size].
        scale: Of the first guess of the inverse Hessian, [].
        pushed: Pairs ever stored, int32 []; pair i stands in row i % history_size.
    """

    iterations: jax.Array
    evaluations: jax.Array
    direction: Any
    step: jax.Array
    gradient: Any
    gradients: Any
    moves: Any
    curvatures: jax.Array
    scale: jax.Array
    pushed: jax.Array


class _Point(NamedTuple):
    """Where an update stands between two iterations."""

    params: Any
    loss: jax.Array
    grad: Any
    memory: LBFGSState
    iterations: jax.Array
    evaluations: jax.Array
    done: jax.Array


class _Limits(NamedTuple):
    max_iter: int
    max_eval: int
    tolerance_grad: float
    tolerance_change: float
    line_search: bool


def lbfgs(
    lr: Rate = 1.0,
    max_iter: int = 20,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 100,
    line_search_fn: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS: one update takes up to `max_iter` quasi-Newton iterations on the same batch.

    Where torch takes a closure, the update takes the loss as a function of the parameters;
    `fx.train.make_step` gives it. Its gradient is `grad_fn` where given, as it is there.

    Args:
        lr: Learning rate, or a schedule: the length of a step, or of a line search's first trial.
        max_iter: Most iterations of an update.
        max_eval: Most evaluations of the loss in an update; None: 1.25 `max_iter`.
        tolerance_grad: Stop where no gradient is larger.
        tolerance_change: Stop where neither loss nor parameters change by more.
        history_size: Pairs of changes to remember. The state holds `2 * history_size` times the
            memory of the parameters.
        line_search_fn: None, or "strong_wolfe".

    Returns:
        An optax transformation whose update takes `value_fn`, and may take `value` (the loss at
        the parameters) and `grad_fn`. All parameters belong to it: torch's knows no groups either.

    Raises:
        ValueError: A negative number, max_iter, max_eval or history_size below 1, another
            line_search_fn; at init, a part of a model's parameters; at the update, parameters or
            value_fn left out.
        TypeError: At init, complex parameters.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import optax
        >>> def loss(p):
        ...     return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        >>> params = jnp.asarray([-1.0, 1.5])
        >>> optimizer = lbfgs(max_iter=100, line_search_fn="strong_wolfe")
        >>> grads, opt_state = jax.grad(loss)(params), optimizer.init(params)
        >>> updates, _ = optimizer.update(grads, opt_state, params, value_fn=loss)
        >>> print(optax.apply_updates(params, updates).round(3))
        [1. 1.]

    Source: torch.optim.LBFGS. It works in float32 where parameters have fewer bits. Reverse-mode
    derivatives do not pass through an update, as through no `jax.lax.while_loop`.
    """
    check("lbfgs", lr=lr, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change)
    max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
    counts = {"max_iter": max_iter, "max_eval": max_eval, "history_size": history_size}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"lbfgs: expected {name} of at least 1, got {count}")
    if line_search_fn not in (None, "strong_wolfe"):
        raise ValueError(
            f'lbfgs: expected line_search_fn None or "strong_wolfe", got {line_search_fn!r}'
        )
    limits = _Limits(
        max_iter, max_eval, tolerance_grad, tolerance_change, line_search_fn is not None
    )

    def init(params: Any, rate: jax.Array) -> LBFGSState:
        del rate
        _check_whole(params)
        return _empty(params, history_size)

    def update(updates: Any, memory: LBFGSState, params: Any, rate: Any, **extra: Any):
        check_params("lbfgs", params)
        evaluate = _evaluation(params, memory.scale.dtype, **extra)
        start, grad = _wide(params), _wide(updates)
        loss = extra.get("value")
        loss = extra["value_fn"](params) if loss is None else loss
        point = _Point(
            params=start,
            loss=jnp.asarray(loss, memory.scale.dtype),
            grad=grad,
            memory=memory,
            iterations=jnp.zeros((), jnp.int32),
            evaluations=jnp.ones((), jnp.int32),
            done=_largest(grad, memory.scale.dtype) <= tolerance_grad,
        )
        lr_now = rate.learning_rate.astype(memory.scale.dtype)
        end = jax.lax.while_loop(
            lambda point: ~point.done & (point.iterations < max_iter),
            lambda point: _iterate(point, lr_now, evaluate, limits),
            point,
        )
        moved = jax.tree.map(lambda a, b, u: (a - b).astype(u.dtype), end.params, start, updates)
        total = memory.evaluations + end.evaluations
        return moved, end.memory._replace(evaluations=total)

    return with_learning_rate(lr, init, update)


def _iterate(point: _Point, lr: jax.Array, evaluate: Callable, limits: _Limits) -> _Point:
    memory = _remember(point.memory, point.grad)
    direction = _direction(memory, point.grad)
    first = jnp.minimum(1.0, 1 / _sum(jax.tree.map(jnp.abs, point.grad), lr.dtype)) * lr
    step = jnp.where(memory.iterations == 1, first, lr)
    slope = _dot(point.grad, direction, lr.dtype)
    memory = memory._replace(direction=direction, step=step, gradient=point.grad)
    point = point._replace(memory=memory, iterations=point.iterations + 1)
    return jax.lax.cond(
        slope > -limits.tolerance_change,
        lambda point: point._replace(done=jnp.ones((), bool)),
        lambda point: _move(point, slope, evaluate, limits),
        point,
    )


def _move(point: _Point, slope: jax.Array, evaluate: Callable, limits: _Limits) -> _Point:
    direction, step = point.memory.direction, point.memory.step
    reach = _largest(direction, step.dtype)

    def at(step: jax.Array) -> tuple[jax.Array, Any, jax.Array]:
        loss, grad = evaluate(_add(point.params, step, direction))
        return loss, grad, _dot(grad, direction, step.dtype)

    if limits.line_search:
        left = limits.max_eval - point.evaluations
        start = point.loss, point.grad, slope
        step, loss, grad, evaluations = strong_wolfe(
            at, step, *start, left, reach, limits.tolerance_change
        )
    else:
        # torch leaves out the last evaluation: nothing would use it.
        loss, grad, evaluations = jax.lax.cond(
            point.iterations < limits.max_iter,
            lambda: (*at(step)[:2], jnp.ones((), jnp.int32)),
            lambda: (point.loss, point.grad, jnp.zeros((), jnp.int32)),
        )
    evaluations = point.evaluations + evaluations
    done = (
        (evaluations >= limits.max_eval)
        | (_largest(grad, step.dtype) <= limits.tolerance_grad)
        | (reach * jnp.abs(step) <= limits.tolerance_change)
        | (jnp.abs(loss - point.loss) < limits.tolerance_change)
    )
    return _Point(
        params=_add(point.params, step, direction),
        loss=loss,
        grad=grad,
        memory=point.memory._replace(step=step),
        iterations=point.iterations,
        evaluations=evaluations,
        done=done,
    )


def _remember(memory: LBFGSState, grad: Any) -> LBFGSState:
    """Count an iteration, and store how parameters and gradient changed in the one before."""
    real = memory.scale.dtype
    change = jax.tree.map(jnp.subtract, grad, memory.gradient)
    move = jax.tree.map(lambda d: memory.step.astype(d.dtype) * d, memory.direction)
    product = _dot(change, move, real)
    keep = product > 1e-10
    row = memory.pushed % memory.curvatures.shape[0]
    curvature = 1 / jnp.where(keep, product, 1.0)
    scale = jnp.where(keep, product, 1.0) / jnp.where(keep, _dot(change, change, real), 1.0)

    def store(rows: jax.Array, new: jax.Array) -> jax.Array:
        return rows.at[row].set(jnp.where(keep, new, rows[row]))

    return memory._replace(
        iterations=memory.iterations + 1,
        gradients=jax.tree.map(store, memory.gradients, change),
        moves=jax.tree.map(store, memory.moves, move),
        curvatures=store(memory.curvatures, curvature),
        scale=jnp.where(keep, scale, memory.scale),
        pushed=memory.pushed + keep.astype(jnp.int32),
    )


def _direction(memory: LBFGSState, grad: Any) -> Any:
    """Minus the inverse Hessian's guess times the gradient: the two-loop recursion."""
    real = memory.scale.dtype
    size = memory.curvatures.shape[0]
    held = jnp.minimum(memory.pushed, size)

    def pair(i: jax.Array) -> tuple[jax.Array, Any, Any]:
        row = (memory.pushed - held + i) % size
        return row, *(jax.tree.map(lambda x: x[row], t) for t in (memory.gradients, memory.moves))

    def backward(k: jax.Array, carry: tuple) -> tuple:
        q, shares = carry
        row, change, move = pair(held - 1 - k)
        share = _dot(move, q, real) * memory.curvatures[row]
        return _add(q, -share, change), shares.at[row].set(share)

    def forward(i: jax.Array, carry: tuple) -> tuple:
        r, shares = carry
        row, change, move = pair(i)
        share = _dot(change, r, real) * memory.curvatures[row]
        return _add(r, shares[row] - share, move), shares

    start = jax.tree.map(jnp.negative, grad), jnp.zeros_like(memory.curvatures)
    q, shares = jax.lax.fori_loop(0, held, backward, start)
    r = jax.tree.map(lambda x: memory.scale.astype(x.dtype) * x, q)
    return jax.lax.fori_loop(0, held, forward, (r, shares))[0]


def _evaluation(
    params: Any,
    real: Any,
    value_fn: Callable | None = None,
    grad_fn: Callable | None = None,
    **extra: Any,
):
    del extra
    if value_fn is None:
        raise ValueError(
            "lbfgs: expected value_fn, the loss as a function of the parameters; make_step gives "
            "it; by hand, optimizer.update(grads, opt_state, params, value_fn=loss)"
        )

    def evaluate(wide: Any) -> tuple[jax.Array, Any]:
        narrow = jax.tree.map(lambda x, p: x.astype(p.dtype), wide, params)
        if grad_fn is None:
            loss, grad = jax.value_and_grad(value_fn)(narrow)
        else:
            loss, grad = value_fn(narrow), grad_fn(narrow)
        return jnp.asarray(loss, real), _wide(grad)

    return evaluate


def _empty(params: Any, history_size: int) -> LBFGSState:
    dtypes = [at_least_float32(leaf.dtype) for leaf in jax.tree.leaves(params)]
    real = max(dtypes, key=lambda dtype: jnp.finfo(dtype).bits, default=jnp.dtype(jnp.float32))

    def zeros(*axes: int) -> Any:
        return jax.tree.map(lambda x: jnp.zeros((*axes, *x.shape), x.dtype), _wide(params))

    count = [jnp.zeros((), jnp.int32) for _ in range(3)]
    return LBFGSState(
        iterations=count[0],
        evaluations=count[1],
        direction=zeros(),
        step=jnp.zeros((), real),
        gradient=zeros(),
        gradients=zeros(history_size),
        moves=zeros(history_size),
        curvatures=jnp.zeros((history_size,), real),
        scale=jnp.ones((), real),
        pushed=count[2],
    )


def _check_whole(params: Any) -> None:
    def is_masked(x: Any) -> bool:
        return isinstance(x, optax.MaskedNode)

    if any(map(is_masked, jax.tree.leaves(params, is_leaf=is_masked))):
        raise ValueError(
            "lbfgs: expected all of the model's parameters, got a part of them (a parameter "
            "group, or some that are frozen); its line is one through all of them"
        )
    if any(map(jnp.iscomplexobj, jax.tree.leaves(params))):
        raise TypeError(
            "lbfgs: expected real parameters, got complex ones; keep real and imaginary parts as "
            "two parameters, jax.lax.complex(re, im) in forward, or use another optimizer"
        )


def _wide(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(at_least_float32(x.dtype)), tree)


def _add(tree: Any, factor: jax.Array, other: Any) -> Any:
    return jax.tree.map(lambda x, y: x + factor.astype(x.dtype) * y, tree, other)


def _dot(a: Any, b: Any, dtype: Any) -> jax.Array:
    # Not jnp.vdot, whose products GPUs may round to TF32.
    return _sum(jax.tree.map(jnp.multiply, a, b), dtype)


def _sum(tree: Any, dtype: Any) -> jax.Array:
    return sum((jnp.sum(x).astype(dtype) for x in jax.tree.leaves(tree)), jnp.zeros((), dtype))


def _largest(tree: Any, dtype: Any) -> jax.Array:
    largest = [jnp.max(jnp.abs(x), initial=0).astype(dtype) for x in jax.tree.leaves(tree)]
    return reduce(jnp.maximum, largest, jnp.zeros((), dtype))
