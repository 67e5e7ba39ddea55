"""Averages of the weights, kept beside them in the optimizer's state: EMA and SWA.

Wrap the optimizer, train as always, and evaluate and export the average:

    optimizer = optim.with_ema(optim.adamw(1e-3), decay=0.999)
    ...
    params = optim.averaged_params(ts.opt_state)
    state = optim.update_bn(batches, model, params, ts.state)      # where there is BatchNorm
    model.apply(params, state, x)
    fx.export(model, params, state, ...)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fx.optim.curves import as_float, as_steps
from fx.optim.groups import check_whole


class AveragedState(NamedTuple):
    """What `with_ema` and `with_swa` keep.

    Attributes:
        count: Steps taken, int32 [].
        n_averaged: How many of them entered the average, int32 [].
        average: The average; of the structure, shapes and dtypes of the parameters.
        inner_state: The optimizer's state.
    """

    count: jax.Array
    n_averaged: jax.Array
    average: Any
    inner_state: Any


def with_ema(
    optimizer: optax.GradientTransformation,
    decay: float = 0.999,
    every: int = 1,
    start: int = 0,
    *,
    warmup: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Keep an exponential moving average of the parameters in the optimizer's state.

    Args:
        optimizer: Any optax transformation. This one is the outermost: it averages the parameters
            as its own updates leave them.
        decay: Share of the average that stays, in [0, 1].
        every: Steps from one averaging to the next.
        start: Steps before the first. Until then the average is the current parameters.
        warmup: Let the n-th averaging decay by `(1 + n) / (10 + n)` at most, so that the first
            weights are soon forgotten.

    Returns:
        An optax transformation; `averaged_params` reads the average from its state.

    Raises:
        ValueError: decay outside [0, 1], every below 1, start below 0; at update, no params; at
            init, the parameters of one group only.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from fx import optim
        >>> optimizer = with_ema(optim.sgd(1.0), decay=0.5)
        >>> params = {"w": jnp.zeros(())}
        >>> opt_state = optimizer.init(params)
        >>> for _ in range(3):
        ...     updates, opt_state = optimizer.update({"w": jnp.float32(-1)}, opt_state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> float(params["w"]), float(averaged_params(opt_state)["w"])  # of 1, 2, 3
        (3.0, 2.25)

    Source: torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay): the first
    averaging copies, so there is no bias to correct. `warmup` is that of TensorFlow's
    ExponentialMovingAverage. Buffers are in the model's state, not averaged, as with torch's
    use_buffers=False.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"with_ema: expected decay in [0, 1], got {decay}")

    def share(n: jax.Array) -> jax.Array:
        if not warmup:
            return as_float(1 - decay)
        return jnp.maximum(as_float(1 - decay), 9 / (10 + as_float(n)))

    return _averaging("with_ema", optimizer, share, every, start)


def with_swa(
    optimizer: optax.GradientTransformation, start: int, every: int
) -> optax.GradientTransformationExtraArgs:
    """Keep the plain average of the parameters at every `every`-th step after `start`.

    Args:
        optimizer: Any optax transformation. This one is the outermost: it averages the parameters
            as its own updates leave them.
        start: Steps before; a multiple of the steps per epoch, usually. Until the first averaging
            the average is the current parameters.
        every: Steps from one averaging to the next: the steps per epoch, usually.

    Returns:
        An optax transformation; `averaged_params` reads the average from its state.

    Raises:
        ValueError: every below 1, start below 0; at update, no params; at init, the parameters of
            one group only.

    Example:
        >>> from fx import optim
        >>> steps = 100  # per epoch
        >>> cosine = optim.cosine_annealing_lr(0.1, T_max=75 * steps)
        >>> constant = optim.swa_lr(0.01, swa_lr=0.05, anneal_epochs=5 * steps)
        >>> schedule = optim.sequential_lr([cosine, constant], [75 * steps])
        >>> optimizer = with_swa(optim.sgd(schedule, 0.9), start=75 * steps, every=steps)

    Source: torch.optim.swa_utils.AveragedModel (arXiv 1803.05407).
    """
    return _averaging("with_swa", optimizer, lambda n: 1 / (as_float(n) + 1), every, start)


def averaged_params(opt_state: Any) -> Any:
    """Read the averaged parameters from an optimizer's state.

    Args:
        opt_state: The state of `with_ema` or `with_swa`, alone or inside of other transformations.

    Returns:
        A tree like the parameters, to evaluate and to export in their place.

    Raises:
        ValueError: The state holds no average, or several beside each other; of one around another
            it is the outer one's that is returned.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import optim
        >>> averaged_params(with_ema(optim.adam()).init({"w": jnp.ones(())}))
        {'w': Array(1., dtype=float32)}
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, AveragedState))
    averages = [node.average for node in nodes if isinstance(node, AveragedState)]
    if len(averages) != 1:
        raise ValueError(
            f"averaged_params: expected a state with one average, got {len(averages)}; wrap the "
            "optimizer once, in with_ema or with_swa"
        )
    return averages[0]


def _averaging(
    name: str,
    optimizer: optax.GradientTransformation,
    share: Callable[[jax.Array], jax.Array],
    every: int,
    start: int,
) -> optax.GradientTransformationExtraArgs:
    """Average with `share(n)` for the new parameters, n having been averaged before."""
    inner = optax.with_extra_args_support(optimizer)
    every = as_steps(name, "every", every)
    start = as_steps(name, "start", start, least=0)

    def init(params: Any) -> Any:
        check_whole(name, params)
        count, n_averaged = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        # A copy: the same array twice in a training state could not be donated.
        average = jax.tree.map(jnp.copy, params)
        return AveragedState(count, n_averaged, average, inner.init(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any):
        if params is None:
            raise ValueError(
                f"{name}: expected the parameters, got None; call "
                "optimizer.update(grads, opt_state, params)"
            )
        updates, inner_state = inner.update(updates, state.inner_state, params, **extra)
        count = jnp.asarray(optax.safe_increment(state.count))
        due = (count > start) & ((count - start) % every == 0)
        n = state.n_averaged

        def average(old: jax.Array, new: jax.Array) -> jax.Array:
            mixed = _lerp(old, new, share(n))
            return jnp.where(n == 0, new, jnp.where(due, mixed, old))

        new = jax.tree.map(average, state.average, optax.apply_updates(params, updates))
        return updates, AveragedState(count, n + due.astype(jnp.int32), new, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _lerp(old: jax.Array, new: jax.Array, share: jax.Array) -> jax.Array:
    # torch.lerp's two forms: exact at both ends.
    weight = share.astype(old.dtype)
    step = new - old
    return jnp.where(weight < 0.5, old + weight * step, new - (1 - weight) * step)
